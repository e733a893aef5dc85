//! `Store::retry`: retries of an operation of the caller.

use std::time::Duration;

use eddyline::{AppendCondition, Error, Filter, ReadWrite, RetryPolicy, Store};
use tokio::time::sleep;

use crate::support::{Log, Observer, lent, series};

#[tokio::test]
async fn an_operation_runs_to_its_end_despite_the_attempt_timeout() {
    let log = Log::new().await;
    let store = log.writer().await;
    let limit = Duration::from_millis(20);
    let policy = RetryPolicy::builder().attempt_timeout(limit).deadline(limit).build().unwrap();
    let once = store.with_retry_policy(RetryPolicy::never());

    let retrying = store.with_retry_policy(policy);
    let lend = retrying.retry(async || {
        let appended = once.append([lent("b-1", "r-1")], AppendCondition::none()).await?;
        sleep(3 * limit).await;
        Ok::<_, Error>(appended)
    });
    let retried = lend.await;

    assert_eq!(retried.attempts(), 1);
    let appended = retried.into_result().unwrap();
    let history = store.query(Filter::everything()).await.unwrap();
    assert_eq!((history.events().len(), history.position()), (1, appended.last()));
}

#[tokio::test]
async fn an_operation_is_counted_under_the_scope_of_its_handle() {
    let (log, observer) = (Log::new().await, Observer::new());
    let config = log.config().telemetry(observer.telemetry());
    let store = Store::<ReadWrite>::connect(config).await.unwrap();

    for store in [&store, &store.with_scope("LoansEver")] {
        let nothing = store.retry(async || Ok::<_, Error>(()));
        nothing.await.into_result().unwrap();
    }

    let outcomes = observer.counted("eventstore.retry.outcomes");
    assert_eq!(
        outcomes,
        series([
            ("outcome=first_try scope=LoansEver", 1),
            ("outcome=first_try scope=operation", 1)
        ])
    );
}

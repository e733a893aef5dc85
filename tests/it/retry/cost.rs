use std::cell::Cell;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use eddyline::retry::{Retried, Retry, RetryBudget, RetryOutcome};
use eddyline::{Config, Error, Filter, ReadOnly, ReadWrite, RetryPolicy, Store};
use futures_util::FutureExt;

use super::{Fault, plain};

fn lend() -> Ready<Result<u64, Fault>> {
    ready(Ok(black_box(7)))
}

#[test]
fn an_operation_that_is_ready_allocates_nothing() {
    let policy = RetryPolicy::default();
    let call = || pin!(Retry::new(&policy, lend).notify(|_| ())).now_or_never();

    let allocated = allocation_counter::measure(|| {
        black_box(call());
    });

    assert_eq!(allocated.count_total, 0);
    assert_eq!(call().unwrap().outcome(), RetryOutcome::FirstTry);
}

/// Timers and tokio's clock need a runtime; this has none.
#[test]
fn an_operation_that_is_ready_needs_no_timer() {
    let policy = RetryPolicy::default();

    let done = Retry::new(&policy, lend).now_or_never().unwrap();
    let failed = Retry::new(&policy, || ready(Err::<(), _>(Fault::Invalid))).now_or_never();

    assert_eq!(done.into_result(), Ok(7));
    assert_eq!(failed.unwrap().outcome(), RetryOutcome::Permanent);
}

/// A timer would wait for the next millisecond; whoever shares the thread is not to wait at all.
#[test]
fn a_pause_of_nothing_lets_others_run_and_needs_no_timer() {
    let policy = plain(3).base_delay(Duration::ZERO).build().unwrap();
    let mut attempts = 0;
    let mut call = pin!(Retry::new(&policy, || {
        attempts += 1;
        ready(Err::<(), _>(Fault::Transient))
    }));

    let polls = std::iter::from_fn(|| Some(call.as_mut().now_or_never())).take(3);
    let polls: Vec<_> = polls.map(|polled| polled.map(|retried| retried.attempts())).collect();

    assert_eq!(polls, [None, None, Some(3)]);
    assert_eq!(attempts, 3);
}

fn sent<T: Send>(value: T) -> T {
    value
}

fn shared<T: Send + Sync + 'static>() {}

#[test]
fn a_call_can_be_sent_if_its_parts_can() {
    let policy = RetryPolicy::default();
    let telemetry = eddyline::Telemetry::default();

    let call = sent(
        Retry::new(&policy, lend)
            .when(|_| true)
            .notify(|_| ())
            .adjust(|_, pause| pause)
            .backoff([])
            .telemetry(&telemetry, "query")
            .without_timeouts(),
    );

    drop(call);
    shared::<RetryPolicy>();
    shared::<RetryBudget>();
    shared::<Retried<u64, Error>>();
}

/// Compiles, and that is all it has to do.
#[expect(dead_code, reason = "nothing has to run it")]
async fn reads_and_appends_can_be_tried_from_any_task(store: Store<ReadWrite>) {
    let read_only = Store::<ReadOnly>::connect(Config::new("postgres://replica").unwrap());
    let reader = read_only.await.unwrap();
    tokio::spawn(async move {
        let (policy, filter) = (RetryPolicy::default(), Filter::everything());
        Retry::new(&policy, || reader.query(&filter)).await.attempts();
        Retry::new(&policy, || store.head()).await.attempts();
    });
}

#[tokio::test]
async fn a_call_whose_parts_stay_on_their_thread_works_there() {
    let (policy, calls) = (RetryPolicy::default(), Rc::new(Cell::new(0)));

    let retried = Retry::new(&policy, || {
        calls.set(calls.get() + 1);
        lend()
    });

    assert_eq!(retried.await.into_result(), Ok(7));
    assert_eq!(calls.get(), 1);
    let shared = Arc::new(policy);
    assert_eq!(Retry::new(&shared, lend).await.attempts(), 1);
}

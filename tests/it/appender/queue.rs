//! What waits for its turn: how much may, for how long, and what becomes of it when it is dropped.

use std::time::Duration;

use eddyline::{AppendCondition, Config, Error, Filter, QueueFull, ReadWrite, RetryPolicy, Store};
use futures_util::future::join_all;

use super::Gate;
use crate::support::{lent, loans_of, wait_until};

fn none() -> AppendCondition {
    AppendCondition::none()
}

fn once(limit: Duration) -> RetryPolicy {
    RetryPolicy::builder().attempts(1).attempt_timeout(limit).build().unwrap()
}

async fn count(gate: &Gate, filter: Filter) -> usize {
    gate.store.query(&filter).await.unwrap().events().len()
}

#[tokio::test]
async fn a_full_queue_refuses_where_it_is_told_to_and_loses_nothing() {
    let gate = Gate::with(|config| {
        config.append_queue(3).queue_full(QueueFull::Refuse).retry(RetryPolicy::never())
    })
    .await;
    let first = gate.occupy("b-0").await;
    let mut begun = Vec::new();
    for book in ["b-1", "b-2", "b-3"] {
        begun.push(gate.begin(vec![lent(book, "r-1")], none()).await);
    }

    let refused = gate.store.append([lent("b-4", "r-1")], none()).await;
    // Dropped, one makes room for another.
    drop(begun.pop());
    begun.push(gate.begin(vec![lent("b-5", "r-1")], none()).await);
    gate.open().await;

    assert!(matches!(refused, Err(Error::QueueFull { waiting: 3 })), "{refused:?}");
    first.await.unwrap();
    for outcome in join_all(begun).await {
        outcome.unwrap();
    }
    for (book, stored) in [("b-1", 1), ("b-2", 1), ("b-3", 0), ("b-4", 0), ("b-5", 1)] {
        assert_eq!(count(&gate, loans_of(book)).await, stored, "{book}");
    }
}

#[tokio::test]
async fn who_waits_for_a_place_waits_no_longer_than_there_is_time() {
    let gate = Gate::with(|config| config.append_queue(1)).await;
    let first = gate.occupy("b-0").await;
    let second = gate.begin(vec![lent("b-1", "r-1")], none()).await;
    let patient = gate.begin(vec![lent("b-2", "r-1")], none()).await;
    let limit = Duration::from_millis(200);
    let hurried = gate.store.with_retry_policy(once(limit));

    let late = hurried.append([lent("b-3", "r-1")], none()).await;
    gate.open().await;

    assert!(matches!(late, Err(Error::TimedOut { waited, .. }) if waited >= limit), "{late:?}");
    let (first, second, patient) = tokio::join!(first, second, patient);
    assert!(first.is_ok() && second.is_ok() && patient.is_ok());
    assert_eq!(count(&gate, Filter::everything()).await, 3);
}

#[tokio::test]
async fn one_that_is_dropped_before_it_is_sent_is_not_stored_and_later_it_is() {
    let gate = Gate::new().await;
    let sent = gate.occupy("b-0").await;
    let waiting = gate.begin(vec![lent("b-1", "r-1")], none()).await;
    drop((sent, waiting));
    let last = gate.begin(vec![lent("b-2", "r-1")], none()).await;
    gate.open().await;
    last.await.unwrap();

    wait_until(async || count(&gate, loans_of("b-0")).await == 1).await;
    assert_eq!(count(&gate, loans_of("b-1")).await, 0);
}

#[tokio::test]
async fn a_store_that_is_gone_keeps_no_connection() {
    let gate = Gate::with(|config| config).await;
    let name = format!("gone_{}", gate.log.name);
    let url = format!("{}?application_name={name}", gate.log.primary_url());
    let config = Config::new(&url).unwrap().log(&gate.log.name);
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    let sessions = async || {
        let text = "SELECT count(*) FROM pg_stat_activity WHERE application_name = left($1, 63)";
        gate.sql.query_one(text, &[&name]).await.unwrap().get::<_, i64>(0)
    };
    store.append([lent("b-1", "r-1")], none()).await.unwrap();
    assert!(sessions().await > 0);

    drop(store);

    wait_until(async || sessions().await == 0).await;
}

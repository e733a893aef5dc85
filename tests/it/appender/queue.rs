//! The queue of appends: its size, the time that appends wait in it, and appends dropped there.

use std::time::Duration;

use eddyline::{AppendCondition, Config, Error, Filter, QueueFull, ReadWrite, RetryPolicy, Store};
use futures_util::future::join_all;

use super::Fixture;
use crate::support::{lent, loans_of, wait_until};

fn none() -> AppendCondition {
    AppendCondition::none()
}

fn once(limit: Duration) -> RetryPolicy {
    RetryPolicy::builder().attempts(1).attempt_timeout(limit).build().unwrap()
}

async fn count(fixture: &Fixture, filter: Filter) -> usize {
    fixture.store.query(&filter).await.unwrap().events().len()
}

#[tokio::test]
async fn a_full_queue_refuses_appends_and_loses_none() {
    let fixture = Fixture::with(|config| {
        config.append_queue(3).queue_full(QueueFull::Refuse).retry(RetryPolicy::never())
    })
    .await;
    let first = fixture.begin_blocked("b-0").await;
    let mut begun = Vec::new();
    for book in ["b-1", "b-2", "b-3"] {
        begun.push(fixture.begin(vec![lent(book, "r-1")], none()).await);
    }

    let refused = fixture.store.append([lent("b-4", "r-1")], none()).await;
    // A dropped append frees its slot for another one.
    drop(begun.pop());
    begun.push(fixture.begin(vec![lent("b-5", "r-1")], none()).await);
    fixture.release_lock().await;

    assert!(matches!(refused, Err(Error::QueueFull { waiting: 3 })), "{refused:?}");
    first.await.unwrap();
    for outcome in join_all(begun).await {
        outcome.unwrap();
    }
    for (book, stored) in [("b-1", 1), ("b-2", 1), ("b-3", 0), ("b-4", 0), ("b-5", 1)] {
        assert_eq!(count(&fixture, loans_of(book)).await, stored, "{book}");
    }
}

#[tokio::test]
async fn an_append_waits_for_a_queue_slot_no_longer_than_its_timeout() {
    let fixture = Fixture::with(|config| config.append_queue(1)).await;
    let first = fixture.begin_blocked("b-0").await;
    let second = fixture.begin(vec![lent("b-1", "r-1")], none()).await;
    let third = fixture.begin(vec![lent("b-2", "r-1")], none()).await;
    let limit = Duration::from_millis(200);
    let bounded = fixture.store.with_retry_policy(once(limit));

    let late = bounded.append([lent("b-3", "r-1")], none()).await;
    fixture.release_lock().await;

    assert!(matches!(late, Err(Error::TimedOut { waited, .. }) if waited >= limit), "{late:?}");
    let (first, second, third) = tokio::join!(first, second, third);
    assert!(first.is_ok() && second.is_ok() && third.is_ok());
    assert_eq!(count(&fixture, Filter::everything()).await, 3);
}

#[tokio::test]
async fn a_dropped_append_is_stored_only_if_it_was_sent() {
    let fixture = Fixture::new().await;
    let sent = fixture.begin_blocked("b-0").await;
    let waiting = fixture.begin(vec![lent("b-1", "r-1")], none()).await;
    drop((sent, waiting));
    let last = fixture.begin(vec![lent("b-2", "r-1")], none()).await;
    fixture.release_lock().await;
    last.await.unwrap();

    wait_until(async || count(&fixture, loans_of("b-0")).await == 1).await;
    assert_eq!(count(&fixture, loans_of("b-1")).await, 0);
}

#[tokio::test]
async fn a_dropped_store_closes_its_connections() {
    let fixture = Fixture::with(|config| config).await;
    let name = format!("dropped_{}", fixture.log.name);
    let url = format!("{}?application_name={name}", fixture.log.primary_url());
    let config = Config::new(&url).unwrap().log(&fixture.log.name);
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    let sessions = async || {
        let text = "SELECT count(*) FROM pg_stat_activity WHERE application_name = left($1, 63)";
        fixture.sql.query_one(text, &[&name]).await.unwrap().get::<_, i64>(0)
    };
    store.append([lent("b-1", "r-1")], none()).await.unwrap();
    assert!(sessions().await > 0);

    drop(store);

    wait_until(async || sessions().await == 0).await;
}

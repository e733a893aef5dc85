//! Appends that are answered after the timeout of their attempt. They are stored, and the store
//! must not report that they are not.
//!
//! A large append has the time of its call to arrive, so it may outlast the timeout of an attempt.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use eddyline::{AppendCondition, Appended, Decision, Error, Event, ReadWrite, RetryPolicy, Store};
use serde_json::json;
use tokio::time::sleep;

use crate::support::{Log, loans_of, wait_for_lock_waiter};

const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(500);

fn large_event() -> Event {
    let payload = json!({ "BookID": "b-1", "Note": "x".repeat(200_000) });
    Event::new("BookCopyLentToReader", &payload).unwrap()
}

fn policy(attempts: u32) -> RetryPolicy {
    let builder = RetryPolicy::builder().attempts(attempts).attempt_timeout(ATTEMPT_TIMEOUT);
    builder.deadline(Duration::from_secs(600)).build().unwrap()
}

/// Runs an operation that waits for the log's lock until its attempt has timed out.
async fn run_late<T>(log: &Log, operation: impl Future<Output = T>) -> T {
    let (holder, key) = (log.sql().await, log.lock_key().await);
    holder.execute("SELECT pg_advisory_lock($1)", &[&key]).await.unwrap();
    let release = async {
        wait_for_lock_waiter(&holder, key).await;
        sleep(ATTEMPT_TIMEOUT).await;
        holder.execute("SELECT pg_advisory_unlock($1)", &[&key]).await.unwrap();
    };
    tokio::join!(operation, release).0
}

async fn append_late(attempts: u32) -> Result<Appended, Error> {
    let log = Log::isolated().await;
    let store = log.writer().await.with_retry_policy(policy(attempts));
    run_late(&log, store.append([large_event()], AppendCondition::none())).await
}

#[tokio::test]
async fn a_large_append_that_outlasts_its_only_attempt_returns_its_positions() {
    append_late(1).await.unwrap();
}

#[tokio::test]
async fn a_large_append_that_outlasts_an_attempt_is_not_repeated() {
    assert!(!append_late(3).await.unwrap().is_repeat());
}

#[tokio::test]
async fn a_decision_whose_large_append_outlasts_an_attempt_is_stored_once() {
    let log = Log::isolated().await;
    let store: Store<ReadWrite> = log.writer().await.with_retry_policy(policy(4));
    let calls = AtomicU32::new(0);

    let decide = store.decide(loans_of("b-1"), |_| {
        calls.fetch_add(1, Ordering::Relaxed);
        Ok::<_, Error>(Decision::append([large_event()]))
    });
    run_late(&log, decide).await.unwrap();

    assert_eq!(calls.into_inner(), 1);
    assert_eq!(store.query(loans_of("b-1")).await.unwrap().events().len(), 1);
}

/// The condition is broken while the append waits for the log's lock.
#[tokio::test]
async fn a_large_append_that_conflicts_after_its_attempt_reports_the_conflict() {
    let log = Log::isolated().await;
    let store = log.writer().await.with_retry_policy(policy(1));
    let (holder, key) = (log.sql().await, log.lock_key().await);
    holder.execute("SELECT pg_advisory_lock($1)", &[&key]).await.unwrap();

    let append = store.append([large_event()], AppendCondition::no_match(loans_of("b-1")));
    let release = async {
        wait_for_lock_waiter(&holder, key).await;
        sleep(ATTEMPT_TIMEOUT).await;
        holder.batch_execute(&log.insert("b-1")).await.unwrap();
        holder.execute("SELECT pg_advisory_unlock($1)", &[&key]).await.unwrap();
    };
    let (append, ()) = tokio::join!(append, release);

    assert!(append.unwrap_err().is_conflict());
}

//! `Store::decide`: reads, decides and appends, and repeats this after a conflict.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use eddyline::{
    AppendCondition, Config, Decision, Error, Event, History, Query, ReadWrite, RetryPolicy, Store,
};
use futures_util::future::join_all;
use serde_json::json;

use crate::support::{
    Log, Observer, end_sessions, lent, loans_of, named, series, wait, wait_at_least,
    wait_for_lock_waiter, wait_until,
};

async fn lend(store: &Store<ReadWrite>, book: &str) {
    store.append([lent(book, "r-0")], AppendCondition::none()).await.unwrap();
}

fn policy(attempts: u32) -> RetryPolicy {
    let builder = RetryPolicy::builder().attempts(attempts).no_escalation();
    builder.base_delay(Duration::from_millis(1)).build().unwrap()
}

fn escalating(conflicts: u32) -> RetryPolicy {
    let builder = RetryPolicy::builder().attempts(conflicts + 1).escalate_after(conflicts);
    builder.base_delay(Duration::from_millis(1)).build().unwrap()
}

/// Decides to append an event that carries the number of events read.
fn count(history: &History<ReadWrite>) -> Result<Decision<usize>, Error> {
    let read = history.events().len();
    let event = Event::new("BookCopyLentToReader", &json!({ "BookID": "b-1", "Seen": read }))?;
    Ok(Decision::append([event]).with_value(read))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflicting_decision_is_repeated_with_the_new_events() {
    let log = Log::new().await;
    let (store, other) = (log.writer().await.with_retry_policy(policy(5)), log.writer().await);
    let calls = AtomicU32::new(0);

    let decided = store.decide(loans_of("b-1"), |history| {
        if calls.fetch_add(1, Ordering::Relaxed) < 2 {
            wait(lend(&other, "b-1"));
        }
        count(history)
    });
    let decided = decided.await.unwrap();

    assert_eq!(*decided.value(), 2);
    assert_eq!((decided.attempts(), decided.conflicts()), (3, 2));
    assert!(!decided.is_escalated());
    let history = store.query(loans_of("b-1")).await.unwrap();
    assert_eq!(history.events().len(), 3);
    assert_eq!(decided.position(), history.position());
    assert_eq!(decided.appended().unwrap().last(), history.position());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_returns_the_conflict_of_its_last_attempt() {
    let log = Log::new().await;
    let (store, other) = (log.writer().await.with_retry_policy(policy(3)), log.writer().await);
    let calls = AtomicU32::new(0);

    let decided = store.decide(loans_of("b-1"), |history| {
        calls.fetch_add(1, Ordering::Relaxed);
        wait(lend(&other, "b-1"));
        count(history)
    });
    let refused = decided.await;

    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    assert_eq!(calls.into_inner(), 3);
    assert_eq!(store.query(loans_of("b-1")).await.unwrap().events().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_escalated_decision_cannot_conflict() {
    let log = Log::new().await;
    let (store, other) = (log.writer().await.with_retry_policy(escalating(2)), log.writer().await);
    let (sql, key) = (log.sql().await, log.lock_key().await);
    let calls = AtomicU32::new(0);
    let (runtime, rival) = (tokio::runtime::Handle::current(), other.clone());

    let decided = store.decide(loans_of("b-1"), |history| {
        if calls.fetch_add(1, Ordering::Relaxed) < 2 {
            wait(lend(&other, "b-1"));
        } else {
            let rival = rival.clone();
            runtime.spawn(async move { lend(&rival, "b-1").await });
            wait(wait_for_lock_waiter(&sql, key));
        }
        count(history)
    });
    let decided = decided.await.unwrap();

    assert!(decided.is_escalated());
    assert_eq!((*decided.value(), decided.attempts(), decided.conflicts()), (2, 3, 2));
    wait_until(async || store.query(loans_of("b-1")).await.unwrap().events().len() == 4).await;
    let history = store.query(loans_of("b-1")).await.unwrap();
    assert_eq!(history.events()[2].sequence_number(), decided.position());
}

#[tokio::test]
async fn a_decision_may_append_nothing() {
    let log = Log::new().await;
    let store = log.writer().await;
    lend(&store, "b-1").await;

    for policy in [policy(1), escalating(1)] {
        let store = store.with_retry_policy(policy);
        let decided = store.decide(loans_of("b-1"), |history| {
            Ok::<_, Error>(Decision::nothing().with_value(history.events().len()))
        });
        let decided = decided.await.unwrap();

        assert!(decided.appended().is_none());
        assert_eq!(*decided.value(), 1);
        assert_eq!(decided.position(), store.head().await.unwrap());
    }
}

/// The events of the decision were stored before others that the decision was made from.
#[tokio::test]
async fn a_decision_whose_events_exist_returns_the_position_of_its_read() {
    let log = Log::new().await;
    let store = log.writer().await;
    let loan = lent("b-1", "r-1");
    store.append([loan.clone()], AppendCondition::none()).await.unwrap();
    lend(&store, "b-1").await;

    for policy in [policy(1), escalating(1)] {
        let store = store.with_retry_policy(policy);
        let decide = |_: &History<ReadWrite>| Ok::<_, Error>(Decision::append([loan.clone()]));
        let decided = store.decide(loans_of("b-1"), decide).await.unwrap();

        assert!(decided.appended().unwrap().is_repeat());
        assert_eq!(decided.position(), store.head().await.unwrap());
    }
}

/// The omitted events would break the condition in every attempt.
#[tokio::test]
async fn a_query_that_omits_newer_events_is_refused() {
    let log = Log::new().await;
    let store = log.writer().await;
    lend(&store, "b-1").await;
    let query = || Query::new(&loans_of("b-1"));
    let head = store.head().await.unwrap();
    let refused = [
        (query().limit(1), "newest_first"),
        (query().limit(7), "newest_first"),
        (query().up_to(head), "up_to"),
        (query().up_to(head).newest_first().limit(1), "up_to"),
    ];

    for (query, remedy) in refused {
        for policy in [policy(2), escalating(1)] {
            let store = store.with_retry_policy(policy);
            let decided = store.decide(query.clone(), |_| -> Result<Decision<()>, Error> {
                panic!("the decision function is called")
            });
            let Err(Error::InvalidQuery { reason }) = decided.await else {
                panic!("{query:?} is accepted");
            };
            assert!(reason.contains(remedy), "{reason}");
        }
    }
    for query in [query().newest_first().limit(1), query().newest_first(), query().after(head)] {
        store.decide(query, count).await.unwrap();
    }
}

#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("too many loans")]
    TooManyLoans,
    #[error(transparent)]
    Store(#[from] Error),
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_returned_without_another_attempt() {
    let log = Log::new().await;
    let other = log.writer().await;
    for conflicts in [0, 1] {
        let store = log.writer().await.with_retry_policy(escalating(1));
        let calls = AtomicU32::new(0);

        let refused = store.decide(loans_of("b-1"), |history| {
            if calls.fetch_add(1, Ordering::Relaxed) < conflicts {
                wait(lend(&other, "b-1"));
                return count(history).map_err(Refusal::from);
            }
            Err(Refusal::TooManyLoans)
        });
        let refused = refused.await;

        assert!(matches!(refused, Err(Refusal::TooManyLoans)), "{refused:?}");
        assert_eq!(calls.into_inner(), conflicts + 1);
        // Neither the log's lock nor a transaction is left behind.
        lend(&store, "b-2").await;
        let open = "SELECT FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'
            AND query LIKE '%' || $1 || '%'";
        assert!(log.sql().await.query(open, &[&log.name]).await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_survives_the_loss_of_its_connection() {
    let log = Log::new().await;
    let (other, sql) = (log.writer().await, log.sql().await);
    // The connection ends before a plain append, then before one under the lock.
    for conflicts in [0, 1] {
        let book = format!("b-{conflicts}");
        let (url, name) = named(&log.primary_url());
        let config = Config::new(&url).unwrap().log(&log.name).max_connections(1);
        let builder = RetryPolicy::builder().attempts(5).escalate_after(1);
        let policy = builder.base_delay(Duration::from_millis(1)).build().unwrap();
        let store = Store::<ReadWrite>::connect(config.retry(policy)).await.unwrap();
        let calls = AtomicU32::new(0);

        let decided = store.decide(loans_of(&book), |history| {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            if call < conflicts {
                wait(lend(&other, &book));
            } else if call == conflicts {
                assert!(wait(end_sessions(&sql, &name)) > 0);
            }
            let event = lent(&book, "r-1");
            Ok::<_, Error>(Decision::append([event]).with_value(history.events().len()))
        });
        let decided = decided.await.unwrap();

        let history = store.query(loans_of(&book)).await.unwrap();
        assert_eq!(history.events().len(), conflicts as usize + 1);
        assert_eq!(history.position(), decided.position());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_that_blocks_under_the_lock_times_out() {
    let log = Log::new().await;
    let store = log.writer().await.with_retry_policy(escalating(1));
    let other = log.writer().await;
    let calls = AtomicU32::new(0);

    let decided = store.decide(loans_of("b-1"), |history| {
        match calls.fetch_add(1, Ordering::Relaxed) {
            0 => wait(lend(&other, "b-1")),
            // This append waits until the server ends the transaction of the decision. The server
            // may do so a moment before the store knows that the time is up.
            1 => wait_at_least(DECISION_TIMEOUT, lend(&other, "b-2")),
            _ => {}
        }
        count(history)
    });
    let decided = decided.await;

    let error = decided.unwrap_err();
    assert!(matches!(error, Error::DecisionTimedOut { .. }), "{error:?}");
    assert!(error.is_timeout() && error.to_string().contains("Config::decision_timeout"));
    // The decision is not repeated.
    assert_eq!(calls.into_inner(), 2);
    assert_eq!(store.query(loans_of("b-1")).await.unwrap().events().len(), 1);
    // The other store appended as soon as the server had ended the transaction.
    assert_eq!(store.query(loans_of("b-2")).await.unwrap().events().len(), 1);
}

/// Every decision counts the events before it, so that two of them would carry the same count if
/// one had missed an event.
#[tokio::test(flavor = "multi_thread")]
async fn every_decision_on_a_contended_boundary_succeeds_and_sees_all_events() {
    const WRITERS: usize = 64;
    const DECISIONS: usize = 4;
    let log = Log::new().await;
    let store = log.writer().await;

    let writers = (0..WRITERS).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            for _ in 0..DECISIONS {
                store.decide(loans_of("b-1"), count).await.unwrap();
            }
        })
    });
    for writer in join_all(writers).await {
        writer.unwrap();
    }

    let history = store.query(loans_of("b-1")).await.unwrap();
    let counts: Vec<_> = history
        .events()
        .iter()
        .map(|event| event.payload::<serde_json::Value>().unwrap()["Seen"].as_u64().unwrap())
        .collect();
    assert_eq!(counts, (0..(WRITERS * DECISIONS) as u64).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_the_events_and_attempts_of_a_decision() {
    let (log, observer) = (Log::new().await, Observer::new());
    let config = log.config().telemetry(observer.telemetry()).retry(escalating(2));
    let store = Store::<ReadWrite>::connect(config).await.unwrap().with_scope("LendBookCopy");
    let other = log.writer().await;
    let calls = AtomicU32::new(0);

    for _ in 0..2 {
        let decided = store.decide(loans_of("b-1"), |history| {
            if calls.fetch_add(1, Ordering::Relaxed) < 2 {
                wait(lend(&other, "b-1"));
            }
            count(history)
        });
        decided.await.unwrap();
    }

    // The first call had two attempts that conflicted, and a third one under the lock.
    assert_eq!(
        observer.counts(),
        series([
            ("operation=append outcome=conflict server=primary", 2),
            ("operation=append outcome=success server=primary", 1),
            ("operation=decide outcome=success server=primary", 1),
            ("operation=query outcome=success server=primary", 3),
        ])
    );
    assert_eq!(
        observer.counter("eventstore.events"),
        series([
            ("direction=appended server=primary", 2),
            ("direction=read server=primary", 1 + 2 + 3),
        ])
    );
    let scope = "scope=LendBookCopy";
    assert_eq!(observer.counted("eventstore.conflicts"), series([(scope, 2)]));
    assert_eq!(observer.counted("eventstore.decide.escalations"), series([(scope, 1)]));
    // The first decision lost two rounds, the second one none. They read 2 and 3 events at last.
    assert_eq!(observer.histogram("eventstore.decide.rounds")[scope], (2, 2.0));
    assert_eq!(observer.histogram("eventstore.decide.events")[scope], (2, 5.0));
    let outcomes = observer.counted("eventstore.retry.outcomes");
    assert_eq!(
        outcomes,
        series([
            ("outcome=first_try scope=LendBookCopy", 1),
            ("outcome=recovered scope=LendBookCopy", 1),
        ])
    );
}

/// The default of `Config::decision_timeout`.
const DECISION_TIMEOUT: Duration = Duration::from_secs(2);

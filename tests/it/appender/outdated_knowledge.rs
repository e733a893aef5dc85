//! Appends of a store whose in-memory knowledge of the log is outdated.

use std::sync::Arc;
use std::time::Duration;

use eddyline::{AppendCondition, Config, Error, Filter, Query, QueueFull, RetryPolicy};
use futures_util::future::join_all;
use tokio::runtime::Runtime;

use super::Fixture;
use crate::support::{lent, loans_of, wait_until};

/// An unconditional append does not read the head, so that the store does not learn of events that
/// other sessions appended before.
#[tokio::test]
async fn an_unconditional_append_hides_no_event_of_other_writers() {
    let fixture = Fixture::new().await;
    let (log, store) = (&fixture.log, &fixture.store);
    let policy = RetryPolicy::builder().attempt_timeout(Duration::from_secs(4)).build().unwrap();
    let bounded = store.with_retry_policy(policy);
    let known = store.append([lent("b-0", "r-1")], AppendCondition::none()).await.unwrap();
    let condition = AppendCondition::no_match_after(loans_of("b-1"), known.last());
    fixture.sql.batch_execute(&log.insert("b-1")).await.unwrap();
    let foreign = store.head().await.unwrap();
    bounded.append([lent("b-2", "r-1")], AppendCondition::none()).await.unwrap();

    let refused = store.append([lent("b-1", "r-2")], condition).await;

    let Err(Error::Conflict { position, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(position, foreign);
}

/// The append is alone in its batch, or shares it with others.
#[tokio::test]
async fn an_event_of_another_writer_breaks_a_condition_that_held_in_memory() {
    for companions in [0, 3] {
        let fixture = Fixture::new().await;
        let known = fixture.store.append([lent("b-0", "r-1")], AppendCondition::none()).await;
        let since = |book: &str| {
            AppendCondition::no_match_after(loans_of(book), known.as_ref().unwrap().last())
        };
        for round in 0..2 {
            fixture.sql.batch_execute(&fixture.log.insert("b-1")).await.unwrap();
            let foreign = fixture.store.head().await.unwrap();
            let mut begun = vec![fixture.begin(vec![lent("b-1", "r-2")], since("b-1")).await];
            for other in 0..companions {
                let book = format!("b-{round}-{other}");
                begun.push(fixture.begin(vec![lent(&book, "r-1")], since(&book)).await);
            }

            let mut outcomes = join_all(begun).await.into_iter();

            let refused = outcomes.next().unwrap();
            let Err(Error::Conflict { position, .. }) = refused else { panic!("{refused:?}") };
            assert!(position == foreign || round > 0 && position < foreign, "{position} {foreign}");
            assert!(outcomes.all(|outcome| outcome.is_ok()));
        }
    }
}

#[tokio::test]
async fn appends_share_a_transaction_beside_other_writers() {
    for _ in 0..20 {
        let fixture = Fixture::new().await;
        let known = fixture.observe_other_writer().await;
        let mut begun = Vec::new();
        for book in 0..10 {
            let book = format!("b-1{book}");
            let condition = AppendCondition::no_match_after(loans_of(&book), known);
            begun.push(fixture.begin(vec![lent(&book, "r-1")], condition).await);
        }
        for outcome in join_all(begun).await {
            outcome.unwrap();
        }
        if fixture.transactions_after(known).await == 1 {
            return;
        }
    }
    panic!("the appends never shared a transaction");
}

#[tokio::test]
async fn appends_continue_after_the_owner_deleted_the_last_events() {
    let policy = RetryPolicy::builder().attempts(1).build().unwrap();
    let fixture = Fixture::with(|config| config.retry(policy)).await;
    let kept = fixture.store.append([lent("b-0", "r-1")], AppendCondition::none()).await.unwrap();
    fixture.store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
    let since = |book| AppendCondition::no_match_after(loans_of(book), kept.last());
    let remove = format!(
        "SET eddyline.allow_changes = on; DELETE FROM {} WHERE sequence_number > {}",
        fixture.log.name,
        kept.last()
    );
    fixture.sql.batch_execute(&remove).await.unwrap();
    let mut begun = Vec::new();
    for book in ["b-2", "b-3", "b-4"] {
        begun.push(fixture.begin(vec![lent(book, "r-1")], since(book)).await);
    }

    for outcome in join_all(begun).await {
        outcome.unwrap();
    }
}

/// A batch that waits for the lock for more than a second no longer blocks the queue.
#[tokio::test]
async fn appends_that_a_slow_batch_returns_to_the_queue_are_sent_again() {
    let policy = RetryPolicy::builder().attempts(1).build().unwrap();
    let fixture = Fixture::with(|config| config.retry(policy)).await;
    fixture.observe_other_writer().await;
    let no_match = || AppendCondition::no_match(loans_of("b-1"));
    fixture.take_lock().await;
    let mut begun = Vec::new();
    for reader in ["r-1", "r-2", "r-3"] {
        begun.push(fixture.begin(vec![lent("b-1", reader)], no_match()).await);
    }
    let overdue = "SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE locktype = 'advisory' AND NOT granted
        AND (classid::bigint << 32 | objid::bigint) = $1
        AND clock_timestamp() - query_start > '1.2 s'";
    let release = async {
        wait_until(async || !fixture.sql.query(overdue, &[&fixture.key]).await.unwrap().is_empty())
            .await;
        fixture.release_lock().await;
    };

    let (outcomes, ()) = tokio::join!(join_all(begun), release);

    let conflicts = outcomes.iter().filter(|one| matches!(one, Err(Error::Conflict { .. })));
    assert_eq!(conflicts.count(), 2, "{outcomes:?}");
    let stored = fixture.store.query(Query::new(&loans_of("b-1"))).await.unwrap();
    assert_eq!(stored.events().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_that_ends_with_a_full_queue_blocks_no_append_of_another_runtime() {
    let full = |config: Config| {
        config.retry(RetryPolicy::never()).append_queue(8).queue_full(QueueFull::Refuse)
    };
    let fixture = Arc::new(Fixture::with(full).await);
    fixture.take_lock().await;
    let runtime = Runtime::new().unwrap();
    let store = fixture.store.clone();
    let lost = lent("b-0", "r-1");
    let event = lost.clone();
    runtime.spawn(async move { store.append([event], AppendCondition::none()).await });
    fixture.wait_for_waiter().await;
    let events: Vec<_> = (1..=8).map(|book| lent(&format!("b-{book}"), "r-1")).collect();
    let mut waiting = Vec::new();
    for event in &events {
        waiting.push(fixture.begin(vec![event.clone()], AppendCondition::none()).await);
    }
    let refused = fixture.store.append([lent("b-9", "r-1")], AppendCondition::none()).await;
    assert!(matches!(refused, Err(Error::QueueFull { waiting: 8 })), "{refused:?}");

    runtime.shutdown_background();

    for outcome in join_all(waiting).await {
        assert!(matches!(outcome, Err(Error::ConnectionLost { .. })), "{outcome:?}");
    }
    fixture.release_lock().await;
    let again =
        events.iter().map(|one| fixture.store.append([one.clone()], AppendCondition::none()));
    for outcome in join_all(again).await {
        outcome.unwrap();
    }
    let stored = fixture.store.query(Query::new(&Filter::everything())).await.unwrap();
    let count = |book: &str| {
        let loans = loans_of(book);
        stored.events().iter().filter(|one| loans.matches(one.event())).count()
    };
    assert!((1..=8).all(|book| count(&format!("b-{book}")) == 1), "{stored:?}");
    assert!(count("b-0") < 2);
}

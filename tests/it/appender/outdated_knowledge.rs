//! What a store believes of its log, where that is not so any more.

use std::sync::Arc;
use std::time::Duration;

use eddyline::{AppendCondition, Config, Error, Filter, Query, QueueFull, RetryPolicy};
use futures_util::future::join_all;
use tokio::runtime::Runtime;

use super::Gate;
use crate::support::{lent, loans_of, wait_until};

/// Where nothing is asked about the log, nothing is learned of what others appended before.
#[tokio::test]
async fn an_append_that_asks_nothing_hides_no_event_of_others() {
    let gate = Gate::new().await;
    let (log, store) = (&gate.log, &gate.store);
    let policy = RetryPolicy::builder().attempt_timeout(Duration::from_secs(4)).build().unwrap();
    let hurried = store.with_retry_policy(policy);
    let known = store.append([lent("b-0", "r-1")], AppendCondition::none()).await.unwrap();
    let condition = AppendCondition::no_match_after(loans_of("b-1"), known.last());
    gate.sql.batch_execute(&log.insert("b-1")).await.unwrap();
    let foreign = store.head().await.unwrap();
    hurried.append([lent("b-2", "r-1")], AppendCondition::none()).await.unwrap();

    let refused = store.append([lent("b-1", "r-2")], condition).await;

    let Err(Error::Conflict { event, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(event, foreign);
}

/// By itself, and beside others.
#[tokio::test]
async fn an_event_of_somebody_else_breaks_what_is_believed_to_hold() {
    for beside in [0, 3] {
        let gate = Gate::new().await;
        let known = gate.store.append([lent("b-0", "r-1")], AppendCondition::none()).await;
        let since = |book: &str| {
            AppendCondition::no_match_after(loans_of(book), known.as_ref().unwrap().last())
        };
        for round in 0..2 {
            gate.sql.batch_execute(&gate.log.insert("b-1")).await.unwrap();
            let foreign = gate.store.head().await.unwrap();
            let mut begun = vec![gate.begin(vec![lent("b-1", "r-2")], since("b-1")).await];
            for other in 0..beside {
                let book = format!("b-{round}-{other}");
                begun.push(gate.begin(vec![lent(&book, "r-1")], since(&book)).await);
            }

            let mut outcomes = join_all(begun).await.into_iter();

            let refused = outcomes.next().unwrap();
            let Err(Error::Conflict { event, .. }) = refused else { panic!("{refused:?}") };
            assert!(event == foreign || round > 0 && event < foreign, "{event} {foreign}");
            assert!(outcomes.all(|outcome| outcome.is_ok()));
        }
    }
}

#[tokio::test]
async fn beside_others_appends_still_go_together() {
    for _ in 0..20 {
        let gate = Gate::new().await;
        let known = gate.meet_others().await;
        let mut begun = Vec::new();
        for book in 0..10 {
            let book = format!("b-1{book}");
            let condition = AppendCondition::no_match_after(loans_of(&book), known);
            begun.push(gate.begin(vec![lent(&book, "r-1")], condition).await);
        }
        for outcome in join_all(begun).await {
            outcome.unwrap();
        }
        if gate.transactions_after(known).await == 1 {
            return;
        }
    }
    panic!("they never went together");
}

#[tokio::test]
async fn appends_go_on_after_the_owner_removed_the_last_events() {
    let policy = RetryPolicy::builder().attempts(1).build().unwrap();
    let gate = Gate::with(|config| config.retry(policy)).await;
    let kept = gate.store.append([lent("b-0", "r-1")], AppendCondition::none()).await.unwrap();
    gate.store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
    let since = |book| AppendCondition::no_match_after(loans_of(book), kept.last());
    let remove = format!(
        "SET eddyline.allow_changes = on; DELETE FROM {} WHERE sequence_number > {}",
        gate.log.name,
        kept.last()
    );
    gate.sql.batch_execute(&remove).await.unwrap();
    let mut begun = Vec::new();
    for book in ["b-2", "b-3", "b-4"] {
        begun.push(gate.begin(vec![lent(book, "r-1")], since(book)).await);
    }

    for outcome in join_all(begun).await {
        outcome.unwrap();
    }
}

/// Who waits for the lock longer than that does not keep the queue to itself.
#[tokio::test]
async fn what_a_late_batch_puts_back_is_taken_up_again() {
    let policy = RetryPolicy::builder().attempts(1).build().unwrap();
    let gate = Gate::with(|config| config.retry(policy)).await;
    gate.meet_others().await;
    let no_match = || AppendCondition::no_match(loans_of("b-1"));
    gate.close().await;
    let mut begun = Vec::new();
    for reader in ["r-1", "r-2", "r-3"] {
        begun.push(gate.begin(vec![lent("b-1", reader)], no_match()).await);
    }
    let overdue = "SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE locktype = 'advisory' AND NOT granted
        AND (classid::bigint << 32 | objid::bigint) = $1
        AND clock_timestamp() - query_start > '1.2 s'";
    let open = async {
        wait_until(async || !gate.sql.query(overdue, &[&gate.key]).await.unwrap().is_empty()).await;
        gate.open().await;
    };

    let (outcomes, ()) = tokio::join!(join_all(begun), open);

    let conflicts = outcomes.iter().filter(|one| matches!(one, Err(Error::Conflict { .. })));
    assert_eq!(conflicts.count(), 2, "{outcomes:?}");
    let stored = gate.store.query(Query::new(&loans_of("b-1"))).await.unwrap();
    assert_eq!(stored.events().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_that_ends_with_a_full_queue_keeps_no_append_of_another_one() {
    let full = |config: Config| {
        config.retry(RetryPolicy::never()).append_queue(8).queue_full(QueueFull::Refuse)
    };
    let gate = Arc::new(Gate::with(full).await);
    gate.close().await;
    let runtime = Runtime::new().unwrap();
    let theirs = gate.store.clone();
    let lost = lent("b-0", "r-1");
    let event = lost.clone();
    runtime.spawn(async move { theirs.append([event], AppendCondition::none()).await });
    gate.wait_for_waiter().await;
    let events: Vec<_> = (1..=8).map(|book| lent(&format!("b-{book}"), "r-1")).collect();
    let mut patient = Vec::new();
    for event in &events {
        patient.push(gate.begin(vec![event.clone()], AppendCondition::none()).await);
    }
    let refused = gate.store.append([lent("b-9", "r-1")], AppendCondition::none()).await;
    assert!(matches!(refused, Err(Error::QueueFull { waiting: 8 })), "{refused:?}");

    runtime.shutdown_background();

    for outcome in join_all(patient).await {
        assert!(matches!(outcome, Err(Error::ConnectionLost { .. })), "{outcome:?}");
    }
    gate.open().await;
    let again = events.iter().map(|one| gate.store.append([one.clone()], AppendCondition::none()));
    for outcome in join_all(again).await {
        outcome.unwrap();
    }
    let stored = gate.store.query(Query::new(&Filter::everything())).await.unwrap();
    let count = |book: &str| {
        let loans = loans_of(book);
        stored.events().iter().filter(|one| loans.matches(one.event())).count()
    };
    assert!((1..=8).all(|book| count(&format!("b-{book}")) == 1), "{stored:?}");
    assert!(count("b-0") < 2);
}

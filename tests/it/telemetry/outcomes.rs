//! A script of every outcome of every operation, which the exported counts have to equal.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use eddyline::limits::MAX_APPEND_EVENTS;
use eddyline::{
    AppendCondition, Causality, Decision, Error, Event, Filter, ReadWrite, RetryPolicy,
    SequenceNumber, Store,
};
use futures_util::{TryStreamExt, stream};
use tokio_postgres::Client;

use super::{cancel_append, connect, hold, until_waiting};
use crate::support::{Log, Observer, lent, loans_of, returned, series, wait};

/// Decides with events after it has lost a round to another append of the same store, so that the
/// last attempt takes the log's lock. If it is to wait for the lock, another session holds it then.
struct Contest<'a> {
    log: &'a Log,
    store: Store<ReadWrite>,
    holder: Mutex<Option<Client>>,
    waits: bool,
}

impl<'a> Contest<'a> {
    fn new(log: &'a Log, store: &Store<ReadWrite>, waits: bool) -> Self {
        let policy = RetryPolicy::builder().attempts(2).escalate_after(1).build().unwrap();
        Self { log, store: store.with_retry_policy(policy), holder: Mutex::default(), waits }
    }

    /// Ends the transaction that holds the lock.
    async fn release(&self) {
        let holder = self.holder.lock().unwrap().take().expect("the decision was to wait");
        holder.batch_execute("ROLLBACK").await.unwrap();
    }

    async fn decide(&self, events: Vec<Event>) -> Result<(), Error> {
        let rounds = AtomicU32::new(0);
        let decide = |_: &_| {
            if rounds.fetch_add(1, Ordering::Relaxed) > 0 {
                return Ok::<_, Error>(Decision::append(events.clone()));
            }
            wait(self.store.append([lent("b-1", "r-9")], AppendCondition::none()))?;
            if self.waits {
                *self.holder.lock().unwrap() = Some(wait(hold(self.log)));
            }
            Ok(Decision::append([lent("b-1", "r-8")]))
        };
        self.store.decide(loans_of("b-1"), decide).await.map(drop)
    }
}

/// Reads that have succeeded, that found a lost position, and that were dropped.
async fn read(store: &Store<ReadWrite>) {
    let causality = Causality::new();
    causality.raise(SequenceNumber::new(1_000));
    let lost = store.with_causality(&causality);
    for _ in 0..4 {
        store.query(Filter::everything()).await.unwrap();
    }
    store.query(loans_of("b-2")).await.unwrap();
    lost.query(Filter::everything()).await.unwrap_err();
    lost.head().await.unwrap_err();
    for _ in 0..2 {
        store.head().await.unwrap();
    }
    let events = store.stream(Filter::everything()).await.unwrap();
    assert_eq!(events.try_collect::<Vec<_>>().await.unwrap().len(), 3);
    drop(store.stream(Filter::everything()).await.unwrap());
    assert!(lost.stream(Filter::everything()).await.is_err());
}

/// Calls that wait for the table, which another transaction has locked, and run into the timeout or
/// are dropped.
async fn read_locked(hasty: &Store<ReadWrite>, store: &Store<ReadWrite>, log: &Log) {
    let holder = log.sql().await;
    holder.batch_execute(&format!("BEGIN; LOCK TABLE {}", log.name)).await.unwrap();
    hasty.query(Filter::everything()).await.unwrap_err();
    hasty.head().await.unwrap_err();
    assert!(hasty.stream(Filter::everything()).await.is_err());
    until_waiting(log, store.query(Filter::everything())).await;
    until_waiting(log, store.head()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_outcome_of_every_operation_is_counted_once() {
    let (log, observer) = (Log::new().await, Observer::new());
    let never = || log.config().retry(RetryPolicy::never());
    let store = connect(never(), &observer).await;
    let hasty = connect(never().lock_timeout(Duration::from_millis(250)), &observer).await;
    let before = store.query(Filter::everything()).await.unwrap();

    for events in [vec![lent("b-1", "r-1"), returned("b-1", "r-1")], vec![lent("b-2", "r-1")]] {
        store.append(events, AppendCondition::none()).await.unwrap();
    }
    for _ in 0..3 {
        let conflict = store.append([lent("b-3", "r-1")], before.condition()).await;
        assert!(conflict.unwrap_err().is_conflict());
    }
    store.append([], AppendCondition::none()).await.unwrap_err();
    read(&store).await;
    let contest = Contest::new(&log, &store, false);
    contest.decide(vec![lent("b-1", "r-2"), lent("b-1", "r-3")]).await.unwrap();
    contest.decide(Vec::new()).await.unwrap();
    let many = vec![Event::from_json("Many", "{}").unwrap(); MAX_APPEND_EVENTS + 1];
    contest.decide(many).await.unwrap_err();
    let contest = Contest::new(&log, &store, true);
    until_waiting(&log, contest.decide(Vec::new())).await;
    contest.release().await;
    // The store learns that no event has the position that was rolled back.
    hasty.append([lent("b-0", "r-1")], AppendCondition::none()).await.unwrap();
    let contest = Contest::new(&log, &hasty, true);
    contest.decide(Vec::new()).await.unwrap_err();
    contest.release().await;
    store.import(stream::iter([lent("b-4", "r-1")])).await.unwrap();
    store.import(stream::iter([lent("b-4", "r-1")])).chunk(0).await.unwrap_err();

    let holder = hold(&log).await;
    for _ in 0..2 {
        cancel_append(&store, &log).await;
    }
    hasty.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap_err();
    hasty.import(stream::iter([lent("b-5", "r-1")])).await.unwrap_err();
    until_waiting(&log, async { store.import(stream::iter([lent("b-5", "r-1")])).await }).await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    read_locked(&hasty, &store, &log).await;
    log.sql().await.batch_execute(&format!("DROP TABLE {}", log.name)).await.unwrap();
    store.query(Filter::everything()).await.unwrap_err();
    store.head().await.unwrap_err();
    assert!(store.stream(Filter::everything()).await.is_err());

    assert_counts(&observer);
    assert_phases_add_up(&observer);
}

fn assert_counts(observer: &Observer) {
    let outcomes = series([
        ("operation=append outcome=canceled server=primary", 2),
        ("operation=append outcome=conflict server=primary", 3 + 5),
        ("operation=append outcome=error server=primary", 1),
        ("operation=append outcome=success server=primary", 2 + 5 + 1),
        ("operation=append outcome=timeout server=primary", 1),
        ("operation=decide outcome=canceled server=primary", 1),
        ("operation=decide outcome=error server=primary", 1),
        ("operation=decide outcome=success server=primary", 2),
        ("operation=decide outcome=timeout server=primary", 1),
        ("operation=head outcome=canceled server=primary", 1),
        ("operation=head outcome=conflict server=primary", 1),
        ("operation=head outcome=error server=primary", 1),
        ("operation=head outcome=success server=primary", 2),
        ("operation=head outcome=timeout server=primary", 1),
        ("operation=import outcome=canceled server=primary", 1),
        ("operation=import outcome=error server=primary", 1),
        ("operation=import outcome=success server=primary", 1),
        ("operation=import outcome=timeout server=primary", 1),
        ("operation=query outcome=canceled server=primary", 1),
        ("operation=query outcome=conflict server=primary", 1),
        ("operation=query outcome=error server=primary", 1),
        ("operation=query outcome=success server=primary", 6 + 5),
        ("operation=query outcome=timeout server=primary", 1),
        ("operation=stream outcome=canceled server=primary", 1),
        ("operation=stream outcome=conflict server=primary", 1),
        ("operation=stream outcome=error server=primary", 1),
        ("operation=stream outcome=success server=primary", 1),
        ("operation=stream outcome=timeout server=primary", 1),
    ]);
    assert_eq!(observer.counted("eventstore.operation.outcomes"), outcomes);
    assert_eq!(observer.counts(), outcomes);
    assert_eq!(
        observer.counted("eventstore.events"),
        series([
            ("direction=appended server=primary", 3 + 5 + 2 + 1 + 1),
            ("direction=read server=primary", 4 * 3 + 1 + 3 + 28 + 16),
        ])
    );
    let conflicts = [("append", 3), ("decide", 5), ("head", 1), ("query", 1), ("stream", 1)];
    let conflicts = conflicts.map(|(scope, count)| (format!("scope={scope}"), count));
    assert_eq!(observer.counted("eventstore.conflicts"), conflicts.into());
    assert_eq!(
        observer.counted("eventstore.errors"),
        series([
            ("class=invalid operation=append", 1),
            ("class=invalid operation=decide", 1),
            ("class=invalid operation=import", 1),
            ("class=schema operation=head", 1),
            ("class=schema operation=query", 1),
            ("class=schema operation=stream", 1),
            ("class=transient operation=append", 1),
            ("class=transient operation=decide", 1),
            ("class=transient operation=head", 1),
            ("class=transient operation=import", 1),
            ("class=transient operation=query", 1),
            ("class=transient operation=stream", 1),
        ])
    );
    assert_eq!(observer.histogram("eventstore.decide.rounds")["scope=decide"], (5, 5.0));
    assert_eq!(
        observer.histogram("eventstore.decide.events")["scope=decide"],
        (5, 3.0 + 6.0 + 7.0 + 7.0 + 8.0)
    );
    assert_eq!(observer.counted("eventstore.decide.escalations"), series([("scope=decide", 5)]));
}

/// A decision has its rounds even if none of them has read anything.
#[tokio::test]
async fn a_decision_that_cannot_read_is_counted_with_its_rounds() {
    let (log, observer) = (Log::new().await, Observer::new());
    let store = connect(log.config().retry(RetryPolicy::never()), &observer).await;
    log.sql().await.batch_execute(&format!("DROP TABLE {}", log.name)).await.unwrap();

    let decide = |_: &_| Ok::<_, Error>(Decision::append([lent("b-1", "r-1")]));
    store.decide(loans_of("b-1"), decide).await.unwrap_err();

    assert_eq!(observer.histogram("eventstore.decide.rounds")["scope=decide"], (1, 0.0));
    let events = observer.points("eventstore.decide.events");
    assert!(events.values().all(|point| point.count == 0), "{events:?}");
}

/// Both attempts under the lock run into its timeout.
#[tokio::test(flavor = "multi_thread")]
async fn an_escalation_is_counted_once_for_all_attempts() {
    let (log, observer) = (Log::new().await, Observer::new());
    let store = connect(log.config().lock_timeout(Duration::from_millis(250)), &observer).await;
    let policy = RetryPolicy::builder().attempts(3).escalate_after(1).build().unwrap();
    let mut contest = Contest::new(&log, &store, true);
    contest.store = store.with_retry_policy(policy);

    contest.decide(Vec::new()).await.unwrap_err();

    assert_eq!(
        observer.counted("eventstore.operation.outcomes")["operation=decide outcome=timeout server=primary"],
        2
    );
    assert_eq!(observer.counted("eventstore.decide.escalations"), series([("scope=decide", 1)]));
    contest.release().await;
}

/// Returns the sums of a histogram's seconds by operation.
fn seconds(observer: &Observer, name: &str) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for (attributes, (_, seconds)) in observer.histogram(name) {
        let operation = attributes.split(' ').next().unwrap().to_owned();
        *sums.entry(operation).or_default() += seconds;
    }
    sums
}

fn assert_phases_add_up(observer: &Observer) {
    let operations = seconds(observer, "eventstore.operation.duration");
    let phases = seconds(observer, "eventstore.phase.duration");
    assert_eq!(operations.len(), 6);
    for (operation, duration) in operations {
        let difference = (phases[&operation] - duration).abs();
        assert!(difference < 1e-6, "{operation}: {} of {duration}", phases[&operation]);
    }
}

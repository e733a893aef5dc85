//! Pipelining: appends that are sent before their predecessors are answered.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use eddyline::{AppendCondition, Error, Event, Filter, RetryPolicy, SequenceNumber};
use futures_util::future::join_all;
use opentelemetry_sdk::trace::SpanData;

use super::{Append, Fixture, Outcome};
use crate::support::{Observer, cancel_after_commits, lent, loans_of, wait_until};

/// The number of successors: enough that some are pipelined and others stay in the queue.
const SUCCESSORS: usize = 40;

fn none() -> AppendCondition {
    AppendCondition::none()
}

fn book(number: usize) -> String {
    format!("b-{number}")
}

impl Fixture {
    /// Begins an append, with or without a condition, that waits for the lock on a connection that
    /// has appended before. Returns the head as well.
    async fn begin_predecessor(
        &self,
        event: Event,
        filter: Option<Filter>,
    ) -> (SequenceNumber, Append<'_>) {
        let known = self.store.append([lent("b-known", "r-1")], none()).await.unwrap().last();
        self.take_lock().await;
        let condition =
            filter.map_or(none(), |filter| AppendCondition::no_match_after(filter, known));
        let predecessor = self.begin(vec![event], condition).await;
        self.wait_for_waiter().await;
        (known, predecessor)
    }

    /// Begins appends, each on the condition that no event of its book was appended.
    async fn begin_successors(&self, known: SequenceNumber) -> Vec<Append<'_>> {
        let mut begun = Vec::new();
        for number in 0..SUCCESSORS {
            let condition = AppendCondition::no_match_after(loans_of(&book(number)), known);
            begun.push(self.begin(vec![lent(&book(number), "r-1")], condition).await);
        }
        begun
    }

    /// Releases the lock, and returns the outcomes of the appends.
    async fn release_lock_and_join(
        &self,
        predecessor: Append<'_>,
        successors: Vec<Append<'_>>,
    ) -> (Outcome, Vec<Outcome>) {
        self.release_lock().await;
        tokio::join!(predecessor, join_all(successors))
    }

    async fn count(&self, filter: Filter) -> usize {
        self.store.query(&filter).await.unwrap().events().len()
    }
}

#[tokio::test]
async fn waiting_appends_are_sent_before_their_predecessor_is_answered() {
    let fixture = Fixture::new().await;
    let (known, predecessor) = fixture
        .begin_predecessor(lent("b-predecessor", "r-1"), Some(loans_of("b-predecessor")))
        .await;
    let successors = fixture.begin_successors(known).await;

    let (predecessor, successors) = fixture.release_lock_and_join(predecessor, successors).await;

    let positions: Vec<_> = successors.into_iter().map(|one| one.unwrap().first()).collect();
    assert!(predecessor.unwrap().last() < positions[0] && positions.is_sorted(), "{positions:?}");
    // Without pipelining, all successors would share one transaction.
    assert!(fixture.transactions_after(known).await > 2);
}

/// A batch that is sent behind another one waits in this process until that one is answered.
#[tokio::test]
async fn the_request_of_a_pipelined_batch_begins_after_its_predecessor() {
    let observer = Observer::new();
    let fixture = Fixture::with(|config| config.telemetry(observer.telemetry())).await;
    let (known, predecessor) =
        fixture.begin_predecessor(lent("b-predecessor", "r-1"), Some(loans_of("b-0"))).await;
    let successors = fixture.begin_successors(known).await;
    let begun = Instant::now();
    wait_until(async || begun.elapsed() > Duration::from_millis(50)).await;

    let waited = begun.elapsed();
    let (predecessor, successors) = fixture.release_lock_and_join(predecessor, successors).await;

    predecessor.unwrap();
    assert!(successors.iter().all(Result::is_ok), "{successors:?}");
    let spans = observer.spans();
    let batches: Vec<_> = spans.iter().filter(|span| span.name == "BATCH append").collect();
    assert!(!batches.is_empty(), "{spans:?}");
    for batch in batches {
        let is_parent = |span: &&SpanData| span.span_context.span_id() == batch.parent_span_id;
        let append = spans.iter().find(is_parent).unwrap();
        let queued = batch.start_time.duration_since(append.start_time).unwrap();
        assert!(queued >= waited, "{queued:?} of {waited:?}");
    }
}

#[tokio::test]
async fn pipelined_appends_conflict_with_events_that_others_commit_in_between() {
    for filter in [Some(loans_of("b-predecessor")), None] {
        let fixture = Fixture::new().await;
        let (known, predecessor) =
            fixture.begin_predecessor(lent("b-predecessor", "r-1"), filter).await;
        let successors = fixture.begin_successors(known).await;
        let foreign = [0, 3, SUCCESSORS - 1];
        for number in foreign {
            fixture.holder.batch_execute(&fixture.log.insert(&book(number))).await.unwrap();
        }

        let (predecessor, successors) =
            fixture.release_lock_and_join(predecessor, successors).await;

        predecessor.unwrap();
        for (number, outcome) in successors.iter().enumerate() {
            let is_broken = matches!(outcome, Err(Error::Conflict { .. }));
            assert_eq!(is_broken, foreign.contains(&number), "{number}: {outcome:?}");
            assert_eq!(outcome.is_ok(), !is_broken, "{number}: {outcome:?}");
            assert_eq!(fixture.count(loans_of(&book(number))).await, 1, "{number}");
        }
    }
}

#[tokio::test]
async fn pipelined_appends_without_a_condition_ignore_events_committed_in_between() {
    let fixture = Fixture::new().await;
    let (known, predecessor) = fixture.begin_predecessor(lent("b-predecessor", "r-1"), None).await;
    let mut successors = Vec::new();
    for number in 0..SUCCESSORS {
        successors.push(fixture.begin(vec![lent(&book(number), "r-1")], none()).await);
    }
    fixture.holder.batch_execute(&fixture.log.insert("b-0")).await.unwrap();

    let (predecessor, successors) = fixture.release_lock_and_join(predecessor, successors).await;

    predecessor.unwrap();
    assert!(successors.iter().all(Result::is_ok), "{successors:?}");
    // One of the other session, one of the predecessor, and more than one of the successors.
    assert!(fixture.transactions_after(known).await > 3);
}

/// The earlier append was canceled after its commit, so that its connection received an error.
#[tokio::test]
async fn pipelined_appends_conflict_with_an_event_whose_append_was_answered_with_an_error() {
    let fixture = Fixture::new().await;
    let known = fixture.store.append([lent("b-known", "r-1")], none()).await.unwrap().last();
    let restore = cancel_after_commits(&fixture.sql, &fixture.log.name).await;
    fixture.store.append([lent("b-7", "r-1")], none()).await.unwrap();
    fixture.sql.batch_execute(&restore).await.unwrap();
    fixture.take_lock().await;
    let condition = AppendCondition::no_match_after(loans_of("b-predecessor"), known);
    let predecessor = fixture.begin(vec![lent("b-predecessor", "r-1")], condition).await;
    fixture.wait_for_waiter().await;
    let successors = fixture.begin_successors(known).await;

    let (predecessor, successors) = fixture.release_lock_and_join(predecessor, successors).await;

    predecessor.unwrap();
    for (number, outcome) in successors.iter().enumerate() {
        let is_broken = matches!(outcome, Err(Error::Conflict { .. }));
        assert_eq!(is_broken, number == 7, "{number}: {outcome:?}");
        assert_eq!(outcome.is_ok(), !is_broken, "{number}: {outcome:?}");
    }
}

#[tokio::test]
async fn pipelined_appends_are_stored_although_their_predecessor_is_refused() {
    let fixture = Fixture::new().await;
    fixture.refuse_book("b-predecessor").await;
    let (known, predecessor) = fixture
        .begin_predecessor(lent("b-predecessor", "r-1"), Some(loans_of("b-predecessor")))
        .await;
    let successors = fixture.begin_successors(known).await;

    let (predecessor, successors) = fixture.release_lock_and_join(predecessor, successors).await;

    let code = predecessor.as_ref().err().and_then(Error::sqlstate);
    assert!(code.is_some_and(|code| code.as_str() == "23514"), "{predecessor:?}");
    let positions: BTreeSet<_> = successors.into_iter().map(|one| one.unwrap().first()).collect();
    assert_eq!(
        (positions.len(), fixture.count(Filter::everything()).await),
        (SUCCESSORS, SUCCESSORS + 1)
    );
}

#[tokio::test]
async fn conflicting_append_waits_for_its_predecessor() {
    let fixture = Fixture::new().await;
    let filter = loans_of("b-predecessor");
    let (known, predecessor) =
        fixture.begin_predecessor(lent("b-predecessor", "r-1"), Some(filter.clone())).await;
    let condition = AppendCondition::no_match_after(filter, known);
    let mut successors = vec![fixture.begin(vec![lent("b-predecessor", "r-2")], condition).await];
    successors.extend(fixture.begin_successors(known).await);

    let (predecessor, successors) = fixture.release_lock_and_join(predecessor, successors).await;

    let position = predecessor.unwrap().first();
    let Err(Error::Conflict { position: event, .. }) = &successors[0] else {
        panic!("{:?}", successors[0])
    };
    assert_eq!(*event, position);
    assert!(successors[1..].iter().all(Result::is_ok), "{successors:?}");
    assert_eq!(fixture.count(Filter::everything()).await, SUCCESSORS + 2);
}

#[tokio::test]
async fn an_event_that_the_predecessor_appends_is_stored_once() {
    let fixture = Fixture::new().await;
    let event = lent("b-predecessor", "r-1");
    let (known, predecessor) =
        fixture.begin_predecessor(event.clone(), Some(loans_of("b-predecessor"))).await;
    let mut successors = vec![fixture.begin(vec![event], none()).await];
    successors.extend(fixture.begin_successors(known).await);

    let (predecessor, successors) = fixture.release_lock_and_join(predecessor, successors).await;

    let again = successors[0].as_ref().unwrap();
    assert!(again.is_repeat() && again.first() == predecessor.unwrap().first(), "{again:?}");
    assert!(successors[1..].iter().all(Result::is_ok), "{successors:?}");
    assert_eq!(fixture.count(Filter::everything()).await, SUCCESSORS + 2);
}

/// Its request has to set the time for which the server may wait for the lock.
#[tokio::test]
async fn an_append_with_a_short_timeout_is_stored_beside_pipelined_ones() {
    let fixture = Fixture::new().await;
    let once = RetryPolicy::builder().attempts(1).attempt_timeout(Duration::from_secs(4));
    let bounded = fixture.store.with_retry_policy(once.build().unwrap());
    let (known, predecessor) = fixture.begin_predecessor(lent("b-predecessor", "r-1"), None).await;
    let mut append: Append<'_> = Box::pin(bounded.append([lent("b-bounded", "r-1")], none()));
    assert!(futures_util::poll!(&mut append).is_pending());
    let mut successors = vec![append];
    successors.extend(fixture.begin_successors(known).await);

    let (predecessor, successors) = fixture.release_lock_and_join(predecessor, successors).await;

    predecessor.unwrap();
    assert!(successors.iter().all(Result::is_ok), "{successors:?}");
    assert_eq!(fixture.count(Filter::everything()).await, SUCCESSORS + 3);
}

#[tokio::test]
async fn a_pipelined_append_that_is_refused_fails_alone() {
    let fixture = Fixture::new().await;
    fixture.refuse_book("b-2").await;
    let (known, predecessor) = fixture
        .begin_predecessor(lent("b-predecessor", "r-1"), Some(loans_of("b-predecessor")))
        .await;
    let successors = fixture.begin_successors(known).await;

    let (predecessor, successors) = fixture.release_lock_and_join(predecessor, successors).await;

    predecessor.unwrap();
    for (number, outcome) in successors.iter().enumerate() {
        assert_eq!(outcome.is_err(), number == 2, "{number}: {outcome:?}");
    }
    assert_eq!(fixture.count(Filter::everything()).await, SUCCESSORS + 1);
}

#[tokio::test]
async fn every_pipelined_append_reports_a_lock_timeout() {
    let policy = RetryPolicy::builder().attempts(1).build().unwrap();
    let adjust =
        |config: eddyline::Config| config.lock_timeout(Duration::from_secs(2)).retry(policy);
    let fixture = Fixture::with(adjust).await;
    let (known, predecessor) = fixture
        .begin_predecessor(lent("b-predecessor", "r-1"), Some(loans_of("b-predecessor")))
        .await;
    let successors = fixture.begin_successors(known).await;

    let (predecessor, successors) = tokio::join!(predecessor, join_all(successors));

    for outcome in successors.iter().chain([&predecessor]) {
        let code = outcome.as_ref().err().and_then(Error::sqlstate);
        assert!(code.is_some_and(|code| code.as_str() == "55P03"), "{outcome:?}");
    }
    fixture.release_lock().await;
    fixture.store.append([lent("b-0", "r-1")], none()).await.unwrap();
    assert_eq!(fixture.count(Filter::everything()).await, 2);
}

#[tokio::test]
async fn each_pipelined_append_is_stored_once_if_the_connection_is_lost() {
    let fixture = Fixture::new().await;
    let (known, predecessor) = fixture
        .begin_predecessor(lent("b-predecessor", "r-1"), Some(loans_of("b-predecessor")))
        .await;
    let successors = fixture.begin_successors(known).await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_locks
        WHERE locktype = 'advisory' AND NOT granted
            AND (classid::bigint << 32 | objid::bigint) = $1";
    assert_eq!(fixture.sql.execute(end, &[&fixture.key]).await.unwrap(), 1);

    let (predecessor, successors) = fixture.release_lock_and_join(predecessor, successors).await;

    let outcomes = successors.into_iter().chain([predecessor]).map(Result::unwrap);
    let positions: BTreeSet<_> = outcomes.map(|appended| appended.first()).collect();
    assert_eq!(
        (positions.len(), fixture.count(Filter::everything()).await),
        (SUCCESSORS + 1, SUCCESSORS + 2)
    );
}

//! Appends that are sent before it is known what becomes of those in front of them.

use std::collections::BTreeSet;
use std::time::Duration;

use eddyline::{AppendCondition, Error, Event, Filter, RetryPolicy, SequenceNumber};
use futures_util::future::join_all;

use super::{Append, Gate, Outcome};
use crate::support::{cancel_after_commits, lent, loans_of};

/// As many as it takes for some of them to be sent ahead, and others to be left in the queue.
const WAITING: usize = 40;

fn none() -> AppendCondition {
    AppendCondition::none()
}

fn book(number: usize) -> String {
    format!("b-{number}")
}

impl Gate {
    /// Begins an append that comes to the closed lock, on a condition or on none, over a connection
    /// that has stored something before. Returns where the log ends.
    async fn in_front(&self, event: Event, filter: Option<Filter>) -> (SequenceNumber, Append<'_>) {
        let known = self.store.append([lent("b-known", "r-1")], none()).await.unwrap().last();
        self.close().await;
        let condition =
            filter.map_or(none(), |filter| AppendCondition::no_match_after(filter, known));
        let front = self.begin(vec![event], condition).await;
        self.wait_for_waiter().await;
        (known, front)
    }

    /// Begins appends, each on the condition that nothing came of its book.
    async fn behind(&self, known: SequenceNumber) -> Vec<Append<'_>> {
        let mut begun = Vec::new();
        for number in 0..WAITING {
            let condition = AppendCondition::no_match_after(loans_of(&book(number)), known);
            begun.push(self.begin(vec![lent(&book(number), "r-1")], condition).await);
        }
        begun
    }

    /// Lets what was begun go on; returns what came of it.
    async fn go_on(&self, front: Append<'_>, behind: Vec<Append<'_>>) -> (Outcome, Vec<Outcome>) {
        self.open().await;
        tokio::join!(front, join_all(behind))
    }

    async fn count(&self, filter: Filter) -> usize {
        self.store.query(&filter).await.unwrap().events().len()
    }
}

#[tokio::test]
async fn some_of_those_that_wait_are_on_their_way_already() {
    let gate = Gate::new().await;
    let (known, front) = gate.in_front(lent("b-front", "r-1"), Some(loans_of("b-front"))).await;
    let behind = gate.behind(known).await;

    let (front, behind) = gate.go_on(front, behind).await;

    let places: Vec<_> = behind.into_iter().map(|one| one.unwrap().first()).collect();
    assert!(front.unwrap().last() < places[0] && places.is_sorted(), "{places:?}");
    // Had they waited for the first one, they would have gone together.
    assert!(gate.transactions_after(known).await > 2);
}

#[tokio::test]
async fn none_is_stored_that_somebody_else_came_before() {
    for filter in [Some(loans_of("b-front")), None] {
        let gate = Gate::new().await;
        let (known, front) = gate.in_front(lent("b-front", "r-1"), filter).await;
        let behind = gate.behind(known).await;
        let taken = [0, 3, WAITING - 1];
        for number in taken {
            gate.holder.batch_execute(&gate.log.insert(&book(number))).await.unwrap();
        }

        let (front, behind) = gate.go_on(front, behind).await;

        front.unwrap();
        for (number, outcome) in behind.iter().enumerate() {
            let is_broken = matches!(outcome, Err(Error::Conflict { .. }));
            assert_eq!(is_broken, taken.contains(&number), "{number}: {outcome:?}");
            assert_eq!(outcome.is_ok(), !is_broken, "{number}: {outcome:?}");
            assert_eq!(gate.count(loans_of(&book(number))).await, 1, "{number}");
        }
    }
}

#[tokio::test]
async fn those_without_a_condition_are_stored_whoever_came_before() {
    let gate = Gate::new().await;
    let (known, front) = gate.in_front(lent("b-front", "r-1"), None).await;
    let mut behind = Vec::new();
    for number in 0..WAITING {
        behind.push(gate.begin(vec![lent(&book(number), "r-1")], none()).await);
    }
    gate.holder.batch_execute(&gate.log.insert("b-0")).await.unwrap();

    let (front, behind) = gate.go_on(front, behind).await;

    front.unwrap();
    assert!(behind.iter().all(Result::is_ok), "{behind:?}");
    // Somebody else's, the first one, and more than one of the others.
    assert!(gate.transactions_after(known).await > 3);
}

/// The one that came before was canceled after its commit, so that the connection which stored it was told
/// of an error.
#[tokio::test]
async fn none_is_stored_that_one_came_before_of_which_the_answer_was_an_error() {
    let gate = Gate::new().await;
    let known = gate.store.append([lent("b-known", "r-1")], none()).await.unwrap().last();
    let restore = cancel_after_commits(&gate.sql, &gate.log.name).await;
    gate.store.append([lent("b-7", "r-1")], none()).await.unwrap();
    gate.sql.batch_execute(&restore).await.unwrap();
    gate.close().await;
    let condition = AppendCondition::no_match_after(loans_of("b-front"), known);
    let front = gate.begin(vec![lent("b-front", "r-1")], condition).await;
    gate.wait_for_waiter().await;
    let behind = gate.behind(known).await;

    let (front, behind) = gate.go_on(front, behind).await;

    front.unwrap();
    for (number, outcome) in behind.iter().enumerate() {
        let is_broken = matches!(outcome, Err(Error::Conflict { .. }));
        assert_eq!(is_broken, number == 7, "{number}: {outcome:?}");
        assert_eq!(outcome.is_ok(), !is_broken, "{number}: {outcome:?}");
    }
}

#[tokio::test]
async fn they_are_stored_though_the_one_in_front_is_refused() {
    let gate = Gate::new().await;
    gate.refuse("b-front").await;
    let (known, front) = gate.in_front(lent("b-front", "r-1"), Some(loans_of("b-front"))).await;
    let behind = gate.behind(known).await;

    let (front, behind) = gate.go_on(front, behind).await;

    let code = front.as_ref().err().and_then(Error::sqlstate);
    assert!(code.is_some_and(|code| code.as_str() == "23514"), "{front:?}");
    let places: BTreeSet<_> = behind.into_iter().map(|one| one.unwrap().first()).collect();
    assert_eq!((places.len(), gate.count(Filter::everything()).await), (WAITING, WAITING + 1));
}

#[tokio::test]
async fn one_whose_condition_the_one_in_front_breaks_waits_for_it() {
    let gate = Gate::new().await;
    let filter = loans_of("b-front");
    let (known, front) = gate.in_front(lent("b-front", "r-1"), Some(filter.clone())).await;
    let condition = AppendCondition::no_match_after(filter, known);
    let mut behind = vec![gate.begin(vec![lent("b-front", "r-2")], condition).await];
    behind.extend(gate.behind(known).await);

    let (front, behind) = gate.go_on(front, behind).await;

    let place = front.unwrap().first();
    let Err(Error::Conflict { event, .. }) = &behind[0] else { panic!("{:?}", behind[0]) };
    assert_eq!(*event, place);
    assert!(behind[1..].iter().all(Result::is_ok), "{behind:?}");
    assert_eq!(gate.count(Filter::everything()).await, WAITING + 2);
}

#[tokio::test]
async fn the_event_of_the_one_in_front_is_stored_once() {
    let gate = Gate::new().await;
    let event = lent("b-front", "r-1");
    let (known, front) = gate.in_front(event.clone(), Some(loans_of("b-front"))).await;
    let mut behind = vec![gate.begin(vec![event], none()).await];
    behind.extend(gate.behind(known).await);

    let (front, behind) = gate.go_on(front, behind).await;

    let again = behind[0].as_ref().unwrap();
    assert!(again.is_repeat() && again.first() == front.unwrap().first(), "{again:?}");
    assert!(behind[1..].iter().all(Result::is_ok), "{behind:?}");
    assert_eq!(gate.count(Filter::everything()).await, WAITING + 2);
}

/// It has to tell the server how long it may wait for the lock.
#[tokio::test]
async fn one_that_may_not_wait_for_long_comes_later() {
    let gate = Gate::new().await;
    let once = RetryPolicy::builder().attempts(1).attempt_timeout(Duration::from_secs(4));
    let hurried = gate.store.with_retry_policy(once.build().unwrap());
    let (known, front) = gate.in_front(lent("b-front", "r-1"), None).await;
    let mut append: Append<'_> = Box::pin(hurried.append([lent("b-hurried", "r-1")], none()));
    assert!(futures_util::poll!(&mut append).is_pending());
    let mut behind = vec![append];
    behind.extend(gate.behind(known).await);

    let (front, behind) = gate.go_on(front, behind).await;

    front.unwrap();
    assert!(behind.iter().all(Result::is_ok), "{behind:?}");
    assert_eq!(gate.count(Filter::everything()).await, WAITING + 3);
}

#[tokio::test]
async fn one_whose_event_is_refused_fails_alone() {
    let gate = Gate::new().await;
    gate.refuse("b-2").await;
    let (known, front) = gate.in_front(lent("b-front", "r-1"), Some(loans_of("b-front"))).await;
    let behind = gate.behind(known).await;

    let (front, behind) = gate.go_on(front, behind).await;

    front.unwrap();
    for (number, outcome) in behind.iter().enumerate() {
        assert_eq!(outcome.is_err(), number == 2, "{number}: {outcome:?}");
    }
    assert_eq!(gate.count(Filter::everything()).await, WAITING + 1);
}

#[tokio::test]
async fn all_are_told_where_the_lock_is_not_to_be_had() {
    let policy = RetryPolicy::builder().attempts(1).build().unwrap();
    let adjust =
        |config: eddyline::Config| config.lock_timeout(Duration::from_millis(300)).retry(policy);
    let gate = Gate::with(adjust).await;
    let (known, front) = gate.in_front(lent("b-front", "r-1"), Some(loans_of("b-front"))).await;
    let behind = gate.behind(known).await;

    let (front, behind) = tokio::join!(front, join_all(behind));

    for outcome in behind.iter().chain([&front]) {
        let code = outcome.as_ref().err().and_then(Error::sqlstate);
        assert!(code.is_some_and(|code| code.as_str() == "55P03"), "{outcome:?}");
    }
    gate.open().await;
    gate.store.append([lent("b-0", "r-1")], none()).await.unwrap();
    assert_eq!(gate.count(Filter::everything()).await, 2);
}

#[tokio::test]
async fn each_is_stored_once_where_the_connection_is_lost() {
    let gate = Gate::new().await;
    let (known, front) = gate.in_front(lent("b-front", "r-1"), Some(loans_of("b-front"))).await;
    let behind = gate.behind(known).await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_locks
        WHERE locktype = 'advisory' AND NOT granted
            AND (classid::bigint << 32 | objid::bigint) = $1";
    assert_eq!(gate.sql.execute(end, &[&gate.key]).await.unwrap(), 1);

    let (front, behind) = gate.go_on(front, behind).await;

    let outcomes = behind.into_iter().chain([front]).map(Result::unwrap);
    let places: BTreeSet<_> = outcomes.map(|appended| appended.first()).collect();
    assert_eq!((places.len(), gate.count(Filter::everything()).await), (WAITING + 1, WAITING + 2));
}

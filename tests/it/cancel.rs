//! Futures of the public interface that are dropped after any number of polls.

use std::future::IntoFuture;
use std::pin::pin;
use std::task::Poll;

use eddyline::{
    AppendCondition, Decision, Error, Event, Filter, History, Query, ReadOnly, ReadWrite,
    RetryPolicy, Schema, Store,
};
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::support::{Log, Observer, lent, wait, wait_for_lock_waiter, wait_until};

/// The most polls before a future under test is dropped. Each of them needs fewer to complete.
const POLLS: usize = 12;

/// Polls a future each time that it is woken, but at most `polls` times, then drops it.
async fn poll_at_most<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut polled = 0;
    std::future::poll_fn(|cx| {
        if polled == polls {
            return Poll::Ready(None);
        }
        polled += 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if polled == polls => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[tokio::test]
async fn a_dropped_append_is_stored_whole_or_not_at_all_and_once_if_repeated() {
    let log = Log::new().await;
    let store = Store::<ReadWrite>::connect(log.config().max_connections(1)).await.unwrap();
    let mut dropped = 0;
    // In the first pass the statements are not prepared yet, in the second one they are.
    for polls in (0..POLLS).chain(0..POLLS) {
        let events = [lent("b-1", "r-1"), lent("b-2", "r-1"), lent("b-3", "r-1")];
        let before = store.head().await.unwrap();

        let answer =
            poll_at_most(polls, store.append(events.clone(), AppendCondition::none())).await;

        let since = Query::new(&Filter::everything()).after(before);
        let stored = store.query(since.clone()).await.unwrap();
        assert!([0, 3].contains(&stored.events().len()), "after {polls} polls");
        assert!(polls > 0 || stored.events().is_empty());
        dropped += usize::from(answer.is_none());
        let repeated = store.append(events.clone(), AppendCondition::none()).await.unwrap();
        let stored = store.query(since).await.unwrap();
        let ids = |events: &[Event]| events.iter().map(Event::id).collect::<Vec<_>>();
        let stored_ids: Vec<_> = stored.events().iter().map(|event| event.id()).collect();
        assert_eq!(stored_ids, ids(&events));
        assert_eq!(repeated.last(), stored.position());
    }
    assert!(dropped > 0);
}

/// Otherwise the next call on its connection would wait until the append has the lock.
#[tokio::test]
async fn an_append_dropped_while_it_waits_for_the_lock_blocks_no_other_call() {
    let log = Log::new().await;
    let store = Store::<ReadWrite>::connect(log.config().max_connections(1)).await.unwrap();
    let (sql, key) = (log.sql().await, log.lock_key().await);
    let holder = log.sql().await;
    holder.batch_execute(&format!("BEGIN; {}", log.insert("b-1"))).await.unwrap();
    let append = store.append([lent("b-2", "r-1")], AppendCondition::none());
    tokio::select! {
        biased;
        outcome = append => panic!("{outcome:?}"),
        () = wait_for_lock_waiter(&sql, key) => {}
    }

    store.head().await.unwrap();

    let waiters = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
        AND (classid::bigint << 32 | objid::bigint) = $1";
    wait_until(async || sql.query(waiters, &[&key]).await.unwrap().is_empty()).await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    assert!(store.query(Filter::everything()).await.unwrap().events().is_empty());
}

#[tokio::test]
async fn a_dropped_read_leaves_the_pool_usable() {
    let log = Log::new().await;
    let store = Store::<ReadWrite>::connect(log.config().max_connections(1)).await.unwrap();
    let events: Vec<_> = (0..500).map(|book| lent(&format!("b-{book}"), "r-1")).collect();
    store.append(events, AppendCondition::none()).await.unwrap();
    let everything = Filter::everything();

    for polls in 0..POLLS {
        poll_at_most(polls, store.query(&everything)).await;
        poll_at_most(polls, store.head()).await;
        poll_at_most(polls, async {
            let events = store.stream(&everything).await.unwrap();
            events.take(polls * 20).try_collect::<Vec<_>>().await.unwrap()
        })
        .await;

        assert_eq!(store.query(&everything).await.unwrap().events().len(), 500);
    }
}

/// The first attempt always conflicts, so that the second one runs under the lock.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_decision_is_stored_whole_or_not_at_all_and_releases_the_lock() {
    let (log, observer) = (Log::isolated().await, Observer::new());
    let policy = RetryPolicy::builder().escalate_after(1).build().unwrap();
    let config = log.config().max_connections(1).retry(policy).telemetry(observer.telemetry());
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    let other = log.writer().await;
    let (mut canceled, mut finished) = (0, 0);
    for (case, polls) in (0..3 * POLLS).chain(0..3 * POLLS).enumerate() {
        let book = format!("b-{case}");
        let filter = Filter::any_of([("BookID", &book)]).build().unwrap();
        let decide = |history: &History<ReadWrite>| {
            if history.events().is_empty() {
                let rival = other.append([lent(&book, "r-0")], AppendCondition::none());
                wait(rival).unwrap();
            }
            Ok::<_, Error>(Decision::append([lent(&book, "r-1"), lent(&book, "r-2")]))
        };

        let decided = poll_at_most(polls, store.decide(&filter, decide)).await;

        // Neither the log's lock nor the only connection is still in use.
        for store in [&other, &store] {
            store.append([lent("b-other", "r-1")], AppendCondition::none()).await.unwrap();
        }
        let stored = store.query(&filter).await.unwrap().events().len();
        assert!([0, 1, 3].contains(&stored), "{stored} after {polls} polls");
        match decided {
            Some(decided) => {
                assert!(decided.unwrap().is_escalated());
                assert_eq!(stored, 3);
                finished += 1;
            }
            // Either the server committed first, or the cancellation ended its backend first.
            None => canceled += u64::from(polls > 0),
        }
    }

    assert!(canceled > 0 && finished > 0, "{canceled} canceled, {finished} finished");
    let outcomes = observer.counter("eventstore.retry.outcomes");
    assert_eq!(outcomes["outcome=canceled scope=decide"], canceled);
    assert_eq!(outcomes["outcome=recovered scope=decide"], finished);
    // A session that `idle_in_transaction_session_timeout` ends would be counted here.
    let fatal = "SELECT sessions_fatal FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(log.sql().await.query_one(fatal, &[]).await.unwrap().get::<_, i64>(0), 0);
}

/// An import takes three round trips per chunk, and reads the next chunk meanwhile.
#[tokio::test]
async fn a_dropped_import_has_stored_whole_chunks_in_order_and_can_be_repeated() {
    let log = Log::new().await;
    let store = Store::<ReadWrite>::connect(log.config().max_connections(1)).await.unwrap();
    let (mut dropped, mut partial) = (0, 0);
    for polls in (0..4 * POLLS).chain(0..4 * POLLS) {
        let events: Vec<_> = (0..5).map(|book| lent(&format!("b-{book}"), "r-1")).collect();
        let before = store.head().await.unwrap();
        let import = || store.import(stream::iter(events.clone())).chunk(2).into_future();

        let imported = poll_at_most(polls, import()).await;

        let since = Query::new(&Filter::everything()).after(before);
        let stored = store.query(since.clone()).await.unwrap().events().len();
        assert!([0, 2, 4, 5].contains(&stored), "{stored} after {polls} polls");
        assert!(imported.is_none_or(|imported| imported.unwrap().stored() == 5));
        dropped += usize::from(stored == 0);
        partial += usize::from(stored == 2 || stored == 4);
        let again = import().await.unwrap();
        assert_eq!(again.read(), 5);
        let stored = store.query(since).await.unwrap();
        let stored: Vec<_> = stored.events().iter().map(|event| event.id()).collect();
        assert_eq!(stored, events.iter().map(Event::id).collect::<Vec<_>>());
    }
    assert!(dropped > 0 && partial > 0, "{dropped} stored nothing, {partial} stored a part");
}

#[tokio::test]
async fn a_dropped_connect_does_not_affect_a_later_one() {
    let log = Log::new().await;

    for polls in 0..POLLS {
        poll_at_most(polls, Store::<ReadWrite>::connect(log.config())).await;
        poll_at_most(polls, Store::<ReadOnly>::connect(log.config())).await;
    }

    log.writer().await.head().await.unwrap();
}

#[tokio::test]
async fn a_dropped_migration_is_applied_whole_or_not_at_all() {
    let log = Log::missing().await;

    for polls in 0..POLLS {
        poll_at_most(polls, Schema::new(&log.config()).migrate()).await;
    }
    Schema::new(&log.config()).migrate().await.unwrap();

    log.writer().await.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
}

//! Imports that are broken off.

use std::future::IntoFuture;

use eddyline::import::{ImportError, Imported};
use eddyline::{AppendCondition, Config, Error, Event, ReadWrite, RetryPolicy, Store};
use fault_proxy::{Action, Direction, Ending};
use futures_util::stream;

use super::{all, ids, line, loans, store_failure, stored_ids};
use crate::support::{Log, lent, named, wait_for_lock_waiter, wait_until};

#[tokio::test]
async fn stores_what_came_before_its_source_failed() {
    let log = Log::new().await;
    let store = log.writer().await;
    for (count, chunk) in [(7, 3), (6, 3), (0, 3), (2, 3)] {
        let before = all(&store).await.len();
        let events = loans(count);
        let results = events.iter().cloned().map(Ok).chain([Err("torn"), Ok(lent("b-late", "r"))]);

        let failed = store.import(stream::iter(results)).chunk(chunk).await.unwrap_err();

        assert_eq!(failed.so_far().read(), count as u64);
        let ImportError::Source { source, .. } = failed else { panic!("{failed:?}") };
        assert_eq!(source, "torn");
        assert_eq!(stored_ids(&store).await[before..], ids(&events));
    }
}

#[tokio::test]
async fn that_is_refused_says_which_chunk_and_stores_nothing_of_it() {
    let log = Log::new().await;
    let store = log.writer().await;
    let check = format!("ALTER TABLE {} ADD CHECK (payload ->> 'BookID' <> 'b-7')", log.name);
    log.sql().await.batch_execute(&check).await.unwrap();
    let events = loans(12);

    let result = store.import(stream::iter(events.clone())).chunk(5).await;

    let (so_far, chunk, error) = store_failure(result);
    assert_eq!((so_far.read(), chunk), (5, 5..10));
    assert_eq!(error.sqlstate().map(|state| state.as_str()), Some("23514"), "{error:?}");
    assert_eq!(stored_ids(&store).await, ids(&events[..5]));

    // In chunks of one it names the event.
    let rest = events[5..].to_vec();
    let (so_far, chunk, _) = store_failure(store.import(stream::iter(rest)).chunk(1).await);
    assert_eq!((so_far.read(), chunk), (2, 2..3));
    assert_eq!(stored_ids(&store).await, ids(&events[..7]));
}

/// The answer is lost of what was stored, beside events that were in the log before.
#[tokio::test]
async fn finds_out_what_it_stored_where_the_answer_was_lost() {
    let log = Log::new().await;
    let (proxy, store) = line(&log).await;
    let (sql, key) = (log.sql().await, log.lock_key().await);
    let events = loans(6);
    let others = log.writer().await;
    others.append([events[5].clone()], AppendCondition::none()).await.unwrap();
    let before = all(&others).await.len();
    let holder = log.sql().await;
    holder.batch_execute(&format!("BEGIN; {}", log.insert("b-held"))).await.unwrap();

    let import = store.import(stream::iter(events)).chunk(4);
    let (imported, ()) = tokio::join!(import.into_future(), async {
        wait_for_lock_waiter(&sql, key).await;
        let fault = proxy.inject(Direction::ToClient, 0, Action::Stall);
        holder.batch_execute("COMMIT").await.unwrap();
        fault.triggered().await;
        wait_until(async || all(&others).await.len() == before + 5).await;
        fault.cut(Ending::Reset);
    });

    let imported = imported.unwrap();
    assert_eq!((imported.read(), imported.stored(), imported.skipped()), (6, 5, 1));
    let stored = all(&others).await;
    assert_eq!(imported.first(), Some(stored[before + 1].sequence_number()));
    assert_eq!(stored.len(), before + 6);
}

#[tokio::test]
async fn stores_each_event_once_where_its_process_is_killed() {
    let log = Log::new().await;
    let (url, name) = named(&log.primary_url());
    let config = Config::new(&url).unwrap().log(&log.name);
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    let (sql, key) = (log.sql().await, log.lock_key().await);
    let events = loans(20);
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name = $1 AND wait_event = 'advisory'";
    let mut insert = log.sql().await;
    let transaction = insert.transaction().await.unwrap();
    transaction.batch_execute(&log.insert("b-held")).await.unwrap();

    let import = store.import(stream::iter(events.clone())).chunk(8);
    let (imported, ()) = tokio::join!(import.into_future(), async {
        for _ in 0..2 {
            wait_for_lock_waiter(&sql, key).await;
            wait_until(async || !sql.query(kill, &[&name]).await.unwrap().is_empty()).await;
        }
        transaction.commit().await.unwrap();
    });

    assert_eq!(imported.unwrap().stored(), 20);
    assert_eq!(stored_ids(&store).await[1..], ids(&events));
}

#[tokio::test]
async fn is_told_as_it_is_where_nothing_is_to_be_tried_again_and_can_be_run_again() {
    let log = Log::new().await;
    let (url, name) = named(&log.primary_url());
    let config = Config::new(&url).unwrap().log(&log.name).retry(RetryPolicy::never());
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    let (sql, key) = (log.sql().await, log.lock_key().await);
    let events = loans(20);
    store.import(stream::iter(events[..8].to_vec())).await.unwrap();
    let holder = log.sql().await;
    holder.batch_execute(&format!("BEGIN; {}", log.insert("b-held"))).await.unwrap();
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name = $1 AND wait_event = 'advisory'";

    let import = store.import(stream::iter(events[8..].to_vec())).chunk(6);
    let (result, ()) = tokio::join!(import.into_future(), async {
        wait_for_lock_waiter(&sql, key).await;
        wait_until(async || !sql.query(kill, &[&name]).await.unwrap().is_empty()).await;
        holder.batch_execute("ROLLBACK").await.unwrap();
    });

    let (so_far, chunk, error) = store_failure(result);
    assert_eq!((so_far.read(), chunk), (0, 0..6));
    let Error::OutcomeUnknown { event_ids, .. } = error else { panic!("{error:?}") };
    assert_eq!(event_ids, ids(&events[8..14]));
    let imported = store.import(stream::iter(events.clone())).await.unwrap();
    assert_eq!((imported.stored(), imported.skipped()), (12, 8));
    assert_eq!(stored_ids(&store).await, ids(&events));
}

/// What an import that fails says is an error of the store's, to whom that is enough.
#[tokio::test]
async fn fails_with_what_becomes_an_error_of_the_store() {
    async fn run(store: &Store<ReadWrite>) -> Result<Imported, Error> {
        let event = || Event::from_json("BookCopyLentToReader", "[]");
        store.import(stream::iter([event()])).await?;
        Ok(store.import(stream::iter([lent("b-1", "r-1")])).await?)
    }
    let log = Log::new().await;

    let failed = run(&log.writer().await).await;

    assert!(matches!(failed, Err(Error::InvalidEvent { field: "payload", .. })), "{failed:?}");
}

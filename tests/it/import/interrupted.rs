//! Interrupted imports.

use std::future::IntoFuture;

use eddyline::import::{ImportError, Imported};
use eddyline::{AppendCondition, Config, Error, Event, ReadWrite, RetryPolicy, Store};
use fault_proxy::{Action, Direction, Ending};
use futures_util::stream;

use super::{all, connect_through_proxy, ids, loans, store_failure, stored_ids};
use crate::support::{Log, lent, named, wait_for_lock_waiter, wait_until};

#[tokio::test]
async fn an_import_stores_the_events_before_its_source_failed() {
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
async fn a_refused_chunk_is_named_and_not_stored() {
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

    // With chunks of one event, the error names the event.
    let rest = events[5..].to_vec();
    let (so_far, chunk, _) = store_failure(store.import(stream::iter(rest)).chunk(1).await);
    assert_eq!((so_far.read(), chunk), (2, 2..3));
    assert_eq!(stored_ids(&store).await, ids(&events[..7]));
}

/// The answer to a chunk is lost. Another chunk has an event that was in the log before.
#[tokio::test]
async fn an_import_finds_what_it_stored_after_a_lost_answer() {
    let log = Log::new().await;
    let (proxy, store) = connect_through_proxy(&log).await;
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
async fn an_import_stores_each_event_once_if_its_backend_is_terminated() {
    let log = Log::new().await;
    let (url, name) = named(&log.primary_url());
    let config = Config::new(&url).unwrap().log(&log.name);
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    let (sql, key) = (log.sql().await, log.lock_key().await);
    let events = loans(20);
    let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name = $1 AND wait_event = 'advisory'";
    let mut insert = log.sql().await;
    let transaction = insert.transaction().await.unwrap();
    transaction.batch_execute(&log.insert("b-held")).await.unwrap();

    let import = store.import(stream::iter(events.clone())).chunk(8);
    let (imported, ()) = tokio::join!(import.into_future(), async {
        for _ in 0..2 {
            wait_for_lock_waiter(&sql, key).await;
            wait_until(async || !sql.query(terminate, &[&name]).await.unwrap().is_empty()).await;
        }
        transaction.commit().await.unwrap();
    });

    assert_eq!(imported.unwrap().stored(), 20);
    assert_eq!(stored_ids(&store).await[1..], ids(&events));
}

#[tokio::test]
async fn an_import_without_retries_reports_an_unknown_outcome_and_can_be_repeated() {
    let log = Log::new().await;
    let (url, name) = named(&log.primary_url());
    let config = Config::new(&url).unwrap().log(&log.name).retry(RetryPolicy::never());
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    let (sql, key) = (log.sql().await, log.lock_key().await);
    let events = loans(20);
    store.import(stream::iter(events[..8].to_vec())).await.unwrap();
    let holder = log.sql().await;
    holder.batch_execute(&format!("BEGIN; {}", log.insert("b-held"))).await.unwrap();
    let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name = $1 AND wait_event = 'advisory'";

    let import = store.import(stream::iter(events[8..].to_vec())).chunk(6);
    let (result, ()) = tokio::join!(import.into_future(), async {
        wait_for_lock_waiter(&sql, key).await;
        wait_until(async || !sql.query(terminate, &[&name]).await.unwrap().is_empty()).await;
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

/// Callers that need no details convert an `ImportError` with `?`.
#[tokio::test]
async fn an_import_error_converts_into_a_store_error() {
    async fn run(store: &Store<ReadWrite>) -> Result<Imported, Error> {
        let event = || Event::from_json("BookCopyLentToReader", "[]");
        store.import(stream::iter([event()])).await?;
        Ok(store.import(stream::iter([lent("b-1", "r-1")])).await?)
    }
    let log = Log::new().await;

    let failed = run(&log.writer().await).await;

    assert!(matches!(failed, Err(Error::InvalidEvent { field: "payload", .. })), "{failed:?}");
}

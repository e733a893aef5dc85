//! Imports concurrent with appends and reads.

use std::future::IntoFuture;

use eddyline::{AppendCondition, Filter, ReadWrite, RetryPolicy, Store};
use fault_proxy::{Action, Direction, Ending};
use futures_util::{StreamExt, stream};

use super::{all, connect_through_proxy, loans, stored_ids};
use crate::support::{Log, lent, loans_of, wait_for_lock_waiter, wait_until};

#[tokio::test]
async fn imported_events_break_older_conditions() {
    let log = Log::new().await;
    let store = log.writer().await;
    let before = store.query(loans_of("b-7")).await.unwrap();
    let elsewhere = store.query(loans_of("b-elsewhere")).await.unwrap();

    store.import(stream::iter(loans(10))).chunk(3).await.unwrap();

    let refused = store.append([lent("b-7", "r-2")], before.condition()).await;
    assert!(refused.is_err_and(|error| error.is_conflict()));
    store.append([lent("b-elsewhere", "r-2")], elsewhere.condition()).await.unwrap();
}

/// An append that is accepted beside an import has seen all matching events that were imported
/// before it.
#[tokio::test(flavor = "multi_thread")]
async fn appends_concurrent_with_imports_miss_no_event() {
    let log = Log::new().await;
    let store = log.writer().await;
    let imports = (0..2).map(async |_| {
        let events = (0..600).map(|number| lent(&format!("b-{}", number % 5), "imported"));
        store.import(stream::iter(events.collect::<Vec<_>>())).chunk(7).await.unwrap()
    });
    let others = log.writer().await;
    let decisions = (0..8).map(async |decider: usize| {
        let filter = loans_of(&format!("b-{}", decider % 5));
        let mut accepted = Vec::new();
        for _ in 0..40 {
            let history = others.query(&filter).await.unwrap();
            let event = lent(&format!("b-{}", decider % 5), "decided");
            match others.append([event], history.condition()).await {
                Ok(appended) => accepted.push((history.position(), appended.first())),
                Err(error) => assert!(error.is_conflict(), "{error:?}"),
            }
        }
        (filter, accepted)
    });

    let (imported, decided) = tokio::join!(
        futures_util::future::join_all(imports),
        futures_util::future::join_all(decisions)
    );

    let stored = all(&store).await;
    for (filter, accepted) in decided {
        for (read_at, position) in accepted {
            let unseen = stored.iter().find(|event| {
                let number = event.sequence_number();
                number > read_at && number < position && filter.matches(event.event())
            });
            assert!(unseen.is_none(), "accepted at {position} after {read_at}: {unseen:?}");
        }
    }
    assert!(imported.iter().all(|imported| imported.stored() == 600));
}

/// The transaction that the import waits for inserts an event of the import.
#[tokio::test]
async fn an_import_sees_the_events_it_waited_for_at_every_default_isolation() {
    let log = Log::isolated().await;
    let (sql, key) = (log.sql().await, log.lock_key().await);
    for level in ["read committed", "repeatable read", "serializable"] {
        log.set(&format!("default_transaction_isolation = '{level}'")).await;
        let store = log.writer().await;
        let events = loans(3);
        let holder = log.sql().await;
        let (table, event) = (&log.name, &events[1]);
        let insert = format!(
            "INSERT INTO {table} (event_id, occurred_at, event_type, payload)
             VALUES ('{}', '{}', '{}', '{}')",
            event.id(),
            event.occurred_at(),
            event.event_type(),
            event.payload_json()
        );
        holder
            .batch_execute(&format!("BEGIN ISOLATION LEVEL READ COMMITTED; {insert}"))
            .await
            .unwrap();

        let import = store.import(stream::iter(events.clone()));
        let (imported, ()) = tokio::join!(import.into_future(), async {
            wait_for_lock_waiter(&sql, key).await;
            holder.batch_execute("COMMIT").await.unwrap();
        });

        let imported = imported.unwrap();
        assert_eq!((imported.stored(), imported.skipped()), (2, 1), "{level}");
        let stored = stored_ids(&store).await;
        assert_eq!(stored[stored.len() - 3..], [1, 0, 2].map(|index| events[index].id()));
    }
}

/// The import does not hold the log's lock while it waits for its source.
#[tokio::test]
async fn an_import_whose_source_stalls_blocks_no_append() {
    let log = Log::new().await;
    let store = log.writer().await;
    let others = store_without_retries(&log).await;
    let source = stream::iter(loans(5)).chain(stream::pending());
    let mut import = store.import(source).chunk(2).into_future();

    tokio::select! {
        biased;
        outcome = &mut import => panic!("{outcome:?}"),
        () = wait_until(async || all(&others).await.len() == 4) => {}
    }

    others.append([lent("b-other", "r-2")], AppendCondition::none()).await.unwrap();
}

/// Returns a store whose appends fail if they cannot get the log's lock in time.
async fn store_without_retries(log: &Log) -> Store<ReadWrite> {
    Store::<ReadWrite>::connect(log.config().retry(RetryPolicy::never())).await.unwrap()
}

#[tokio::test]
async fn an_import_whose_events_stall_in_transit_blocks_no_append() {
    let log = Log::new().await;
    let (proxy, store) = connect_through_proxy(&log).await;
    let others = store_without_retries(&log).await;
    let events = loans(200);
    for bytes in [0, 300, 5_000, 20_000] {
        let fault = proxy.inject(Direction::ToServer, bytes, Action::Stall);
        let mut import = store.import(stream::iter(events.clone())).chunk(200).into_future();
        tokio::select! {
            biased;
            outcome = &mut import => panic!("{outcome:?}"),
            () = fault.triggered() => {}
        }

        others.append([lent("b-other", "r-2")], AppendCondition::none()).await.unwrap();

        drop(import);
        fault.cut(Ending::Reset);
    }
    let imported = store.import(stream::iter(events)).await.unwrap();
    assert_eq!(imported.stored(), 200);
}

#[tokio::test]
async fn a_replica_read_at_the_position_of_an_import_has_its_events() {
    let log = Log::new().await;
    let (store, reader) = (log.writer().await, log.reader().await);
    let events = loans(9);

    for _ in 0..2 {
        let imported = store.import(stream::iter(events.clone())).chunk(4).await.unwrap();

        let history = reader.at_least(imported.position()).query(Filter::everything()).await;
        assert_eq!(history.unwrap().events().len(), 9);
    }
}

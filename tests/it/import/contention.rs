//! Imports beside the appends and reads of others.

use std::future::IntoFuture;
use std::time::Duration;

use eddyline::{AppendCondition, Filter, ReadWrite, RetryPolicy, Store};
use fault_proxy::{Action, Direction, Ending};
use futures_util::{StreamExt, stream};

use super::{all, line, loans, stored_ids};
use crate::support::{Log, lent, loans_of, wait_for_lock_waiter, wait_until};

#[tokio::test]
async fn is_seen_by_conditions_that_are_older() {
    let log = Log::new().await;
    let store = log.writer().await;
    let before = store.query(loans_of("b-7")).await.unwrap();
    let elsewhere = store.query(loans_of("b-elsewhere")).await.unwrap();

    store.import(stream::iter(loans(10))).chunk(3).await.unwrap();

    let refused = store.append([lent("b-7", "r-2")], before.condition()).await;
    assert!(refused.is_err_and(|error| error.is_conflict()));
    store.append([lent("b-elsewhere", "r-2")], elsewhere.condition()).await.unwrap();
}

/// Whatever is decided beside an import is decided from all of it that came before.
#[tokio::test(flavor = "multi_thread")]
async fn races_with_appends_of_which_each_saw_everything() {
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
        for (seen, place) in accepted {
            let unseen = stored.iter().find(|event| {
                let number = event.sequence_number();
                number > seen && number < place && filter.matches(event.event())
            });
            assert!(unseen.is_none(), "accepted at {place} after {seen}: {unseen:?}");
        }
    }
    assert!(imported.iter().all(|imported| imported.stored() == 600));
}

/// An event of the import is in the transaction that the import has to wait for.
#[tokio::test]
async fn sees_what_it_waited_for_under_every_default_isolation() {
    let log = Log::alone().await;
    let (sql, key) = (log.sql().await, log.lock_key().await);
    for level in ["read committed", "repeatable read", "serializable"] {
        let set = format!("ALTER DATABASE {} SET default_transaction_isolation = '{level}'", {
            let name = sql.query_one("SELECT current_database()::text", &[]).await.unwrap();
            name.get::<_, String>(0)
        });
        sql.batch_execute(&set).await.unwrap();
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
        assert_eq!(stored[stored.len() - 3..], [1, 0, 2].map(|place| events[place].id()));
    }
}

/// Neither a source that stands still nor what is on its way keeps the log's lock.
#[tokio::test]
async fn holds_nobody_up_while_its_source_stands_still() {
    let log = Log::new().await;
    let store = log.writer().await;
    let others = hasty(&log).await;
    let source = stream::iter(loans(5)).chain(stream::pending());
    let mut import = store.import(source).chunk(2).into_future();

    tokio::select! {
        biased;
        outcome = &mut import => panic!("{outcome:?}"),
        () = wait_until(async || all(&others).await.len() == 4) => {}
    }

    others.append([lent("b-other", "r-2")], AppendCondition::none()).await.unwrap();
}

/// A store whose appends wait for the log's lock for a second, once.
async fn hasty(log: &Log) -> Store<ReadWrite> {
    let config = log.config().lock_timeout(Duration::from_secs(1));
    Store::<ReadWrite>::connect(config.retry(RetryPolicy::never())).await.unwrap()
}

#[tokio::test]
async fn holds_nobody_up_wherever_its_events_stop_on_their_way() {
    let log = Log::new().await;
    let (proxy, store) = line(&log).await;
    let others = hasty(&log).await;
    let events = loans(200);
    for bytes in [0, 300, 5_000, 20_000] {
        let fault = proxy.inflict(Direction::ToServer, bytes, Action::Stall);
        let mut import = store.import(stream::iter(events.clone())).chunk(200).into_future();
        tokio::select! {
            biased;
            outcome = &mut import => panic!("{outcome:?}"),
            () = fault.struck() => {}
        }

        others.append([lent("b-other", "r-2")], AppendCondition::none()).await.unwrap();

        drop(import);
        fault.cut(Ending::Reset);
    }
    let imported = store.import(stream::iter(events)).await.unwrap();
    assert_eq!(imported.stored(), 200);
}

#[tokio::test]
async fn is_seen_by_a_replica_that_is_read_at_its_position() {
    let log = Log::new().await;
    let (store, reader) = (log.writer().await, log.reader().await);
    let events = loans(9);

    for _ in 0..2 {
        let imported = store.import(stream::iter(events.clone())).chunk(4).await.unwrap();

        let history = reader.at_least(imported.position()).query(Filter::everything()).await;
        assert_eq!(history.unwrap().events().len(), 9);
    }
}

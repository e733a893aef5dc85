//! Appends and imports that a failover interrupts, which loses events.

use std::sync::Arc;
use std::time::Duration;

use eddyline::import::ImportError;
use eddyline::{AppendCondition, Config, Error, ReadWrite, RetryPolicy, SequenceNumber, Store};
use futures_util::stream;
use local_postgres::Cluster;
use tokio::sync::Notify;

use super::{LOST, append};
use crate::support::{cluster_with_log, connect, lent, loans_of, wait_until};

/// Connects to a primary and its standby.
async fn store_of_both(cluster: &Cluster) -> Store<ReadWrite> {
    let hosts: Vec<_> =
        cluster.servers().map(|server| format!("127.0.0.1:{}", server.port())).collect();
    let url = format!("postgres://postgres@{}/postgres", hosts.join(","));
    let patient = RetryPolicy::builder().attempt_timeout(Duration::from_secs(30));
    let patient = patient.deadline(Duration::from_secs(60)).build().unwrap();
    Store::<ReadWrite>::connect(Config::new(&url).unwrap().retry(patient)).await.unwrap()
}

/// No other append has begun an epoch on the new primary.
#[tokio::test]
async fn an_append_whose_position_is_lost_has_a_known_outcome_after_a_failover() {
    let cluster = cluster_with_log(1).await;
    let (old, new) = (cluster.primary(), &cluster.standbys()[0]);
    let store = store_of_both(&cluster).await;
    append(&store, "b-1", 3).await;
    cluster.wait_for_replay().await.unwrap();
    new.stop_streaming().await.unwrap();
    let lost = append(&store, "b-1", LOST).await.bookmark();
    let (holder, sql) = (connect(&old.url("postgres")).await, connect(&old.url("postgres")).await);
    holder.batch_execute("BEGIN; LOCK TABLE events IN SHARE MODE").await.unwrap();
    let condition = AppendCondition::no_match_after(loans_of("b-7"), lost);
    let appending = {
        let store = store.clone();
        tokio::spawn(async move { store.append([lent("b-7", "r-1")], condition).await })
    };
    let waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    wait_until(async || !sql.query(waiting, &[]).await.unwrap().is_empty()).await;

    old.stop_immediately().await.unwrap();
    new.promote().await.unwrap();

    let refused = appending.await.unwrap().unwrap_err();
    let Error::PositionLost { position, ended, .. } = refused else { panic!("{refused:?}") };
    assert_eq!((position, ended), (lost.position(), Some(SequenceNumber::new(3))));
}

/// The new primary has given the numbers of the first chunk to other events.
#[tokio::test]
async fn an_import_fails_if_a_failover_loses_its_former_chunks() {
    let cluster = cluster_with_log(1).await;
    let (old, new) = (cluster.primary(), &cluster.standbys()[0]);
    let store = store_of_both(&cluster).await;
    append(&store, "b-1", 3).await;
    cluster.wait_for_replay().await.unwrap();
    new.stop_streaming().await.unwrap();
    let stored = Arc::new(Notify::new());
    let first_chunk = stream::iter((0..LOST).map(|_| lent("b-2", "r-1")));
    let rest = stream::once(async {
        stored.notified().await;
        old.stop_immediately().await.unwrap();
        new.promote().await.unwrap();
        append(&super::writer(new).await, "b-3", 2 * LOST).await;
        lent("b-2", "r-1")
    });
    let events = futures_util::StreamExt::chain(first_chunk, rest);

    let import = store.import(events).chunk(LOST).on_progress(|_| stored.notify_one()).await;

    let Err(ImportError::Store { source, .. }) = import else { panic!("{import:?}") };
    let Error::PositionLost { position, ended, .. } = source else { panic!("{source:?}") };
    assert!(position > SequenceNumber::new(LOST as u64), "{position}");
    assert_eq!(ended, Some(SequenceNumber::new(3)));
}

/// The epoch of a run of a server that lost nothing ends as well.
#[tokio::test]
async fn an_import_goes_on_after_a_restart() {
    let cluster = cluster_with_log(0).await;
    let primary = cluster.primary();
    let store = store_of_both(&cluster).await;
    let stored = Arc::new(Notify::new());
    let first_chunk = stream::iter((0..LOST).map(|_| lent("b-2", "r-1")));
    let rest = stream::once(async {
        stored.notified().await;
        primary.restart().await.unwrap();
        lent("b-2", "r-1")
    });
    let events = futures_util::StreamExt::chain(first_chunk, rest);

    let import = store.import(events).chunk(LOST).on_progress(|_| stored.notify_one()).await;

    let imported = import.unwrap();
    assert_eq!(imported.stored(), 1 + LOST as u64);
    super::assert_valid(primary, imported.bookmark()).await;
}

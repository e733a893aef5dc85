//! Promotions of replicas.

use std::time::{Duration, Instant};

use console::Stop;
use eddyline::{Filter, Role};
use load::observer::Observer;

use crate::support::{Clients, Fixture, append, assert_done};

#[tokio::test(flavor = "multi_thread")]
async fn promotions_lose_no_acknowledged_event() {
    let fixture = Fixture::start(
        2,
        &[
            "300ms kill primary for 1m",
            "500ms promote replica-0",
            "600ms promote replica-1",
            "700ms freeze replica-2 for 100ms",
            "800ms kill primary for 1m",
            "900ms promote replica-2",
        ],
    )
    .await;
    // The times of the later faults come while the servers still change.
    let observer = Observer::start(&fixture.servers, Duration::from_millis(100)).await;
    let start = observer.started();
    let mut clients = Clients::start(&fixture.stores.writer);

    let marks = fixture.direct(start, &Stop::default()).await;

    clients.wait_for(20).await;
    let acknowledged = clients.end().await;
    let observations = observer.finish().await;
    assert_done(
        &marks,
        &[
            "kill primary",
            "promote replica-0",
            "promote replica-1",
            "freeze replica-2",
            "kill primary",
            "promote replica-2",
        ],
    );
    fixture.assert_holds(&acknowledged, 2).await;
    let names = observations.servers.iter().map(|server| server.later_names.join(" "));
    assert_eq!(
        names.collect::<Vec<_>>(),
        ["replica-2 primary", "primary replica-3", "primary replica-4"]
    );
    let batches = observations.batches.unwrap();
    assert!(batches.events >= acknowledged.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_go_on_after_the_only_replica_was_promoted() {
    let fixture = Fixture::start(1, &["0s promote replica-0"]).await;
    let appended = append(&fixture, 1).await;

    let marks = fixture.direct(Instant::now(), &Stop::default()).await;

    assert_done(&marks, &["promote replica-0"]);
    let last = append(&fixture, 1).await;
    let reader = fixture.stores.reader.at_least(last.last());
    let history = reader.query(Filter::everything()).await.unwrap();
    assert_eq!(history.served_by(), "replica-1");
    assert_eq!(history.served_by().role(), Role::Replica);
    assert_eq!(history.events()[0].sequence_number(), appended.first());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_with_more_events_than_the_promoted_one_loses_them() {
    let fixture = Fixture::start(2, &["0s kill primary for 1m", "1ms promote replica-0"]).await;
    let [_, behind, ahead] = &fixture.servers.sql()[..] else { panic!("there are two replicas") };
    let ahead = ahead.connect("test", Duration::from_secs(60)).await.unwrap();
    fixture.servers.embedded().unwrap().server(1).stop_streaming().await.unwrap();
    let mut clients = Clients::start(&fixture.stores.writer);
    // The primary acknowledges nothing, and sends all to the other replica.
    let head = "SELECT coalesce(max(sequence_number), 0) FROM events";
    while ahead.query_one(head, &[]).await.unwrap().get::<_, i64>(0) == 0 {}
    let behind = behind.connect("test", Duration::from_secs(60)).await.unwrap();
    assert_eq!(behind.query_one(head, &[]).await.unwrap().get::<_, i64>(0), 0);

    let marks = fixture.direct(Instant::now(), &Stop::default()).await;

    clients.wait_for(20).await;
    let acknowledged = clients.end().await;
    assert_done(&marks, &["kill primary", "promote replica-0"]);
    fixture.assert_holds(&acknowledged, 2).await;
}

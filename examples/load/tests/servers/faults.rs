//! Disturbances of single servers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use console::Stop;
use load::observer::Observer;

use crate::support::{Clients, Fixture, assert_done};

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_is_done_and_undone_while_clients_append() {
    let fixture = Fixture::start(
        2,
        &[
            "0s freeze replica-0 for 1500ms",
            "0s pause replica-1 for 400ms",
            "500ms slow primary for 300ms",
            "900ms freeze primary for 1500ms",
            "1600ms restart replica-0",
            "2600ms kill primary for 500ms",
            "2700ms kill replica-1 for 500ms",
        ],
    )
    .await;
    let mut clients = Clients::start(&fixture.stores.writer);
    let observer = Observer::start(&fixture.servers, Duration::from_millis(100)).await;
    let start = observer.started();

    let marks = fixture.direct(start, &Stop::default()).await;

    clients.wait_for(20).await;
    let acknowledged = clients.end().await;
    let observations = observer.finish().await;
    assert_done(
        &marks,
        &[
            "freeze replica-0",
            "pause replica-1",
            "slow primary",
            "freeze primary",
            "restart replica-0",
            "kill primary",
            "kill replica-1",
        ],
    );
    fixture.assert_holds(&acknowledged, 2).await;
    let embedded = fixture.servers.embedded().unwrap();
    assert!(embedded.proxy(0).unwrap().accepted() > 0);
    assert!(embedded.proxy(1).is_none());
    for server in &observations.servers {
        assert_eq!(server.samples.last().map(|sample| sample.is_up), Some(true), "{server:?}");
    }
    // These two were frozen for longer than the observer waits for an answer.
    for server in &observations.servers[..2] {
        assert!(server.samples.iter().any(|sample| !sample.is_up), "{server:?}");
    }
    assert!(observations.not_observed.is_empty(), "{:?}", observations.not_observed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_undoes_what_was_done_and_skips_the_rest() {
    let fixture = Fixture::start(
        1,
        &["0s freeze replica-0 for 5m", "6m kill primary", "361s promote replica-0"],
    )
    .await;
    let (start, stop) = (Instant::now(), Stop::default());
    let replica = fixture.servers.sql().pop().unwrap();
    let stopping = async {
        while replica.connect("test", Duration::from_millis(100)).await.is_ok() {}
        stop.set();
    };

    let (marks, ()) = tokio::join!(fixture.direct(start, &stop), stopping);

    assert_done(&marks, &["freeze replica-0"]);
    replica.connect("test", Duration::from_secs(60)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_cannot_be_done_is_reported_and_its_server_restored() {
    let fixture = Fixture::start(1, &["0s pause replica-0 for 1ms", "2ms promote replica-0"]).await;
    let replica = fixture.servers.embedded().unwrap().server(1);
    replica.stop().await.unwrap();

    let marks = fixture.direct(Instant::now(), &Stop::default()).await;

    let [paused, promoted] = &marks[..] else { panic!("{marks:?}") };
    for mark in [paused, promoted] {
        assert!(mark.error.is_some() && mark.until.is_none(), "{mark:?}");
    }
    fixture.assert_holds(&BTreeMap::new(), 1).await;
}

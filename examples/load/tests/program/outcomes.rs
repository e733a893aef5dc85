//! What the program finds and how it ends.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output};

use local_postgres::Cluster;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::support::{Reports, SHORT, SMALL, Servers, assert_clean, output, wait};

/// Sends a signal when the load has started, and returns the output after that.
fn send_signal(mut load: Child, signal: Signal) -> Output {
    let mut errors = BufReader::new(load.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("load ") {
        line.clear();
        assert_ne!(errors.read_line(&mut line).unwrap(), 0, "the load ended early");
    }
    kill_process(Pid::from_child(&load), signal).unwrap();
    let mut stderr = Vec::new();
    errors.read_to_end(&mut stderr).unwrap();
    Output { stderr, ..load.wait_with_output().unwrap() }
}

#[tokio::test]
async fn audits_a_log_and_continues_it() {
    let servers = Servers::open().await;

    for text in ["imported 600 books", "reading the existing log, up to event"] {
        let reports = Reports::new();
        let output = reports.run_against(&servers, &[]).await;

        assert_clean(&output);
        let report = reports.json();
        assert_eq!(report["load"]["windows"][0]["outcomes"]["error"], 0, "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(text), "{output:?}");
        // The same plan adds copies with other ids.
        let added = &report["load"]["operations"]["AddBookCopy"]["outcomes"];
        assert!(added["success"].as_u64() > added["idempotent"].as_u64(), "{added}");
        assert_eq!(report["settings"]["is_embedded"], false);
    }
}

#[tokio::test]
async fn finds_a_book_that_was_lent_twice_before_the_load() {
    let servers = Servers::open().await;
    let [book, first, second] = [1, 2, 3].map(uuid::Uuid::from_u128);
    let at = "2026-03-01T08:00:00.000000Z";
    let name = "Ada Lovelace";
    let data = json!({
        "BookID": book, "ISBN": "978-0-14-043910-8", "Title": "Middlemarch",
        "Authors": "George Eliot", "Edition": "2nd", "Publisher": "Penguin",
        "PublicationYear": 1994, "OccurredAt": at,
    });
    servers.append("BookCopyAddedToCirculation", data).await;
    for reader in [first, second] {
        let registered = json!({ "ReaderID": reader, "Name": name, "OccurredAt": at });
        servers.append("ReaderRegistered", registered).await;
    }
    for reader in [first, second] {
        let lent = json!({ "BookID": book, "ReaderID": reader, "OccurredAt": at });
        servers.append("BookCopyLentToReader", lent).await;
    }

    let output = Reports::new().run_against(&servers, &[]).await;

    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text.contains("audit: no findings of the load in "), "{text}");
    assert!(text.contains("before the load: event 5") && text.contains("already lent"), "{text}");
}

#[tokio::test]
async fn reports_events_that_are_not_of_the_library() {
    let servers = Servers::open().await;
    servers.append("InvoicePaid", json!({ "Amount": 12 })).await;
    servers.append("ReaderRegistered", json!({ "ReaderID": 7 })).await;

    let reports = Reports::new();
    let output = reports.run_against(&servers, &[]).await;

    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text.contains("InvoicePaid") && text.contains("ReaderRegistered"), "{text}");
    assert!(reports.json()["load"]["ended"].as_u64() > Some(50));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("the library cannot read 2 events"), "{errors}");
}

#[tokio::test]
async fn a_broken_store_is_found() {
    for sabotage in ["stale", "lost", "old"] {
        let servers = Servers::open().await;

        let output = Reports::new()
            .run_against(&servers, &["--sabotage", sabotage, "--seconds", "4", "--queries", "40"])
            .await;

        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{sabotage}: {output:?}");
        assert!(!text.contains("audit: no findings"), "{sabotage}: {text}");
    }
}

#[tokio::test]
async fn reports_and_audits_after_a_signal() {
    for signal in [Signal::TERM, Signal::INT] {
        let (servers, reports) = (Servers::open().await, Reports::new());

        let arguments = [&SMALL[..], &SHORT, &servers.arguments(), &["--seconds", "600"]].concat();
        let load = reports.start(&arguments);
        let output = tokio::task::spawn_blocking(move || send_signal(load, signal));

        assert_clean(&output.await.unwrap());
        assert!(reports.json()["audit"].is_object());
    }
}

#[tokio::test]
async fn succeeds_if_standard_error_is_closed() {
    let (servers, reports) = (Servers::open().await, Reports::new());

    let mut load = reports.start(&[&SMALL[..], &SHORT, &servers.arguments()].concat());
    drop(load.stderr.take());

    assert_clean(&wait(load).await);
}

#[tokio::test]
async fn audits_the_log_if_standard_output_is_closed() {
    let (servers, reports) = (Servers::open().await, Reports::new());

    let mut load = reports.start(&[&SMALL[..], &SHORT, &servers.arguments()].concat());
    drop(load.stdout.take());
    let output = wait(load).await;

    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(reports.json()["audit"]["findings"]["count"], 0);
}

#[tokio::test]
async fn audits_after_a_load_that_used_every_connection() {
    let cluster = Cluster::builder().fsync(false).max_connections(12).start().await.unwrap();
    cluster.create_database("library").await.unwrap();
    let url = cluster.primary().url("library");
    let servers = Servers { primary: url.clone(), replica: url };

    let output = Reports::new().run_against(&servers, &["--clients", "30", "--closed"]).await;

    assert_clean(&output);
}

#[tokio::test]
async fn audits_after_a_load_that_used_every_file_descriptor() {
    let (servers, reports) = (Servers::open().await, Reports::new());
    let load = reports.command(&[&SMALL[..], &SHORT, &servers.arguments()].concat());

    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 40 && exec \"$0\" \"$@\""]).arg(load.get_program());
    limited.args(load.get_args()).args(["--clients", "60", "--closed"]);

    assert_clean(&output(limited).await);
}

#[tokio::test]
async fn servers_that_go_away_are_counted_and_audited() {
    let cluster = Cluster::builder().fsync(false).standbys(1).start().await.unwrap();
    cluster.create_database("library").await.unwrap();
    let [primary, replica] =
        [cluster.primary(), &cluster.standbys()[0]].map(|server| server.url("library"));
    let (servers, reports) = (Servers { primary, replica }, Reports::new());
    let arguments = [&SMALL[..], &SHORT, &servers.arguments(), &["--seconds", "8"]].concat();

    let mut load = reports.start(&arguments);
    let mut errors = BufReader::new(load.stderr.take().unwrap());
    let (started, begun) = tokio::sync::oneshot::channel();
    let reading = tokio::task::spawn_blocking(move || {
        let (mut text, mut started) = (String::new(), Some(started));
        while errors.read_line(&mut text).unwrap() > 0 {
            if text.lines().last().is_some_and(|line| line.starts_with("load ")) {
                let _ = started.take().map(|started| started.send(()));
            }
        }
        text
    });
    begun.await.unwrap();
    cluster.primary().restart().await.unwrap();
    cluster.standbys()[0].kill().await.unwrap();
    cluster.standbys()[0].start().await.unwrap();
    let output = wait(load).await;
    reading.await.unwrap();

    assert_clean(&output);
    let load = &reports.json()["load"];
    assert_eq!(load["due"], load["begun"]);
    assert_eq!(load["due"].as_u64().unwrap(), load["ended"].as_u64().unwrap());
}

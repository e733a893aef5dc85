//! The live page and the metrics of a load that runs.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;
use load::args::Arguments;
use load::live_page::{Live, Phase};
use load::plan::Group;
use load::run::{Loaded, load};
use load::setup::Setup;
use load::tally::Snapshot;
use load::telemetry::Instrumentation;
use load::web::{Address, Request, Server};

use crate::browser::elements_at;
use crate::live_page::document;
use crate::shown::points;

#[tokio::test(flavor = "multi_thread")]
async fn each_chart_has_data_while_a_load_runs_and_the_metrics_are_those_of_the_tally() {
    let options = Arguments::parse_from(["load"].into_iter().chain(OPTIONS.split(' '))).load;
    let setup = Setup::check(&options).unwrap();
    let live = Live::new(Some(Arc::new(Instrumentation::start(None).unwrap())));
    let server = Server::bind(Address::parse(Some("0")).unwrap()).await.unwrap().unwrap();
    let url = format!("http://{}/", server.address());
    let serving = live.serve(server);
    let running = {
        let live = live.clone();
        tokio::spawn(async move { load(&options, &setup, &live).await })
    };
    while document(&live)["samples"].as_array().unwrap().len() < 8 {
        assert!(!running.is_finished(), "the load ended early");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let during = tokio::task::spawn_blocking(move || elements_at(&url)).await.unwrap();
    let Loaded { report, .. } = running.await.unwrap().unwrap();
    live.enter(Phase::Ended);

    let points = points(&during);
    let empty: Vec<_> = points.iter().filter(|(_, points)| **points == 0).collect();
    assert_eq!(empty, [], "charts without points");
    assert_eq!(points.len(), 28);
    let errors = during.iter().find_map(|one| one.attribute("data-errors"));
    assert_eq!(errors.as_deref(), Some("0"));
    let metrics = metrics(&live);
    check(&metrics);
    compare(&metrics, &report.load);
    let expected = document(&live);
    assert_eq!(expected["load"]["ended"], report.load.ended);
    serving.shut_down().await;
}

/// Returns the metrics as text.
fn metrics(live: &Live) -> String {
    let request = Request { path: "/metrics".to_owned(), query: String::new() };
    String::from_utf8(live.answer(&request).unwrap().content.to_vec()).unwrap()
}

/// Checks the format with Prometheus' own program.
fn check(metrics: &str) {
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = promtool.expect("promtool is missing: install the package `prometheus`");
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Compares the metrics of the handlers and of the stores with the tally.
fn compare(metrics: &str, load: &Snapshot) {
    let count = |name: &str, labels: &[(&str, &str)]| -> u64 {
        let lines = metrics.lines().filter(|line| {
            let named = line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'));
            named
                && labels
                    .iter()
                    .all(|(label, value)| line.contains(&format!("{label}=\"{value}\"")))
        });
        let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values.sum::<f64>() as u64
    };
    let handlers = |name: &str, outcome: &str| {
        count("eventstore_handler_outcomes_total", &[("name", name), ("outcome", outcome)])
    };
    for (name, figures) in &load.operations {
        let outcomes = figures.outcomes;
        for (outcome, expected) in [
            ("success", outcomes.success),
            ("idempotent", outcomes.idempotent),
            ("rejected", outcomes.rejected),
            ("conflict", outcomes.conflict),
        ] {
            assert_eq!(handlers(name, outcome), expected, "{name} {outcome}");
        }
        let failed = handlers(name, "error") + handlers(name, "timeout");
        assert_eq!(failed, outcomes.error, "{name}");
        let calls = count("eventstore_retry_outcomes_total", &[("scope", name)]);
        assert_eq!(calls, outcomes.total(), "{name}");
    }
    let lost = count("eventstore_retry_attempts_total", &[("reason", "conflict")]);
    assert_eq!(lost, load.lost_rounds);
    let commands = load.operations.values().filter(|figures| figures.group != Group::Queries);
    // A rejection is an event too.
    let stored = commands.map(|figures| figures.outcomes.success + figures.outcomes.rejected);
    let appended = count("eventstore_events_total", &[("direction", "appended")]);
    assert_eq!(appended, stored.sum::<u64>() + IMPORTED);
    let mut servers = BTreeMap::new();
    for server in load.reads_by_server.keys() {
        let labels = [("operation", "stream"), ("outcome", "success"), ("server", server)];
        let reads = count("eventstore_operation_outcomes_total", &labels);
        servers.insert(server.clone(), reads);
    }
    assert_eq!(servers, load.reads_by_server);
}

/// Many commands lose a round, so that the charts of retries have data.
const OPTIONS: &str = "--books 400 --readers 100 --seconds 12 --rate 60 --shape constant \
                       --lost-rounds 10 --lists 0";
/// The books, readers and loans that are imported.
const IMPORTED: u64 = 600;

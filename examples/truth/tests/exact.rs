//! The exact comparisons, over a short run with small counts and without Prometheus.

use std::time::Duration;

use truth::calls::Ended;
use truth::exporter::Exporter;
use truth::five_counts::Counted;
use truth::operations::{compare_calls, compare_counts};
use truth::steps::Steps;
use truth::stores::Stores;
use truth::testbed::Testbed;
use truth::whole_way::complete_counts;
use truth::{Comparisons, generator};

/// Runs a step of the mix and one of the load generator.
async fn run() -> (Exporter, Ended, Counted) {
    let testbed = Testbed::start(None, 200).await.unwrap();
    let exporter = Exporter::new().unwrap();
    generator::prepare(&testbed).await.unwrap();
    let stores = Stores::connect(&testbed, &exporter.telemetry(), CLIENTS).await.unwrap();
    let length = Duration::from_secs(2);
    let steps =
        Steps { testbed: &testbed, stores: &stores, exporter: &exporter, clients: CLIENTS, length };
    let ended = steps.mix(&mut Comparisons::default()).await.unwrap();
    let mut counted = Counted::default();
    steps.generator(&mut Comparisons::default(), &mut counted).await.unwrap();
    (exporter, ended, counted)
}

/// Returns the lines of comparisons that do not hold, without those of times.
fn failed_counts(comparisons: &Comparisons) -> Vec<String> {
    let text = comparisons.to_string();
    let failed = text.lines().filter(|line| line.contains("FAILED") && line.contains("| exact"));
    failed.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_is_exported_once_with_its_outcome() {
    let (exporter, mut ended, mut counted) = run().await;
    let scrape = exporter.scrape().unwrap();

    let mut comparisons = Comparisons::default();
    compare_calls(&mut comparisons, &ended, &scrape);
    compare_counts(&mut comparisons, &ended, &scrape);
    complete_counts(&mut counted, &scrape, None);

    assert!(ended.durations.values().map(Vec::len).sum::<usize>() > 0);
    assert_eq!(failed_counts(&comparisons), [""; 0]);
    assert_eq!(counted.failed(), 0, "{counted}");

    // One call more than the store has made.
    let first = ended.durations.values_mut().next().unwrap();
    first.push(0.0);
    let mut comparisons = Comparisons::default();
    compare_calls(&mut comparisons, &ended, &scrape);
    assert!(!failed_counts(&comparisons).is_empty());
}

const CLIENTS: u32 = 4;

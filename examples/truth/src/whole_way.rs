//! The whole way of a metric: from the program through `/metrics` to Prometheus.

use eddyline::telemetry::{INSTRUMENTS, Instrument, InstrumentKind};

use crate::Failure;
use crate::calls::Ended;
use crate::comparison::Comparisons;
use crate::exporter::Exporter;
use crate::five_counts::Counted;
use crate::operations::{compare_calls, compare_counts};
use crate::prometheus_server::{JOB, PrometheusServer};
use crate::scrape::{Scrape, Series};

/// Returns everything that Prometheus has of the program, after nothing more is counted:
/// connections that are closed count when their tasks end.
///
/// # Errors
///
/// [`Failure`] of Prometheus.
pub async fn last_scrape(
    prometheus: &PrometheusServer,
    exporter: &Exporter,
) -> Result<Scrape, Failure> {
    loop {
        let before = exporter.scrape()?;
        prometheus.wait_for_scrape().await?;
        if exporter.scrape()?.has_counts_of(&before) {
            break;
        }
    }
    let samples = prometheus.query(&format!("{{job=\"{JOB}\"}}")).await?;
    Ok(Scrape::of_samples(samples.into_iter().map(|sample| {
        let Series { name, mut labels } = sample.series;
        labels.remove("job");
        labels.remove("instance");
        (Series { name, labels }, sample.value)
    })))
}

/// Compares the last text of `/metrics` with what Prometheus has, and both with what the program
/// counted with at most so many clients.
///
/// # Errors
///
/// [`Failure::Malformed`].
pub fn compare_with_prometheus(
    rows: &mut Comparisons,
    exporter: &Exporter,
    stored: &Scrape,
    (clients, ended): (u32, &Ended),
) -> Result<(), Failure> {
    let text = exporter.scrape()?;
    rows.begin("Prometheus and the text of /metrics");
    for name in text.names().filter(|name| text.kind(name) != Some("gauge")) {
        let (mut all, mut equal) = (0, 0);
        for part in ["", "_bucket", "_count", "_sum"] {
            let name = format!("{name}{part}");
            for (labels, value) in text.of(&name) {
                all += 1;
                equal += u64::from(stored.value(&name, labels) == Some(value));
            }
        }
        rows.equal(format!("{name}: series"), all, equal);
    }
    rows.begin("Prometheus and the program's own counts, over the whole run");
    compare_calls(rows, clients, ended, stored);
    compare_counts(rows, ended, stored);
    Ok(())
}

/// Compares the name and the kind of each metric with those that follow from its instrument.
///
/// # Errors
///
/// [`Failure::Malformed`].
pub fn compare_names(rows: &mut Comparisons, text: &Scrape) {
    rows.begin("Names, units and kinds");
    for instrument in INSTRUMENTS {
        let (name, kind) = (prometheus_name(instrument), prometheus_kind(instrument));
        let exported = text.kind(&name).unwrap_or("absent");
        rows.holds(name, kind, exported, kind == exported);
    }
}

/// Adds what `/metrics` and Prometheus have of the load generator's operations.
pub fn complete_counts(counted: &mut Counted, text: &Scrape, stored: Option<&Scrape>) {
    for (subject, counts) in counted.iter_mut() {
        let (sample, series) = subject.series();
        let sum = |scrape: &Scrape| series.iter().map(|labels| scrape.count(sample, labels)).sum();
        counts.metrics = Some(sum(text));
        counts.prometheus = stored.map(sum);
    }
}

/// The rule by which exporters name metrics: units are spelled out, and counters end in `_total`.
fn prometheus_name(instrument: &Instrument) -> String {
    let mut name = instrument.name.replace('.', "_");
    if instrument.unit == "s" {
        name += "_seconds";
    }
    if instrument.kind == InstrumentKind::Counter {
        name += "_total";
    }
    name
}

fn prometheus_kind(instrument: &Instrument) -> &'static str {
    match instrument.kind {
        InstrumentKind::Counter => "counter",
        InstrumentKind::Histogram => "histogram",
        // Prometheus has no kind for a sum that falls.
        _ => "gauge",
    }
}

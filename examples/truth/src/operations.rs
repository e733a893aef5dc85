//! Comparisons of the callers' clocks and counts with the metrics of operations.

use load::tally::Snapshot;

use crate::calls::Ended;
use crate::comparison::Comparisons;
use crate::scrape::{Scrape, rank};
use crate::stores::names;

/// Compares the number and the durations of all calls with the metrics of the operations.
pub fn compare_calls(rows: &mut Comparisons, clients: u32, ended: &Ended, scrape: &Scrape) {
    for (kind, durations) in &ended.durations {
        let name = format!("{} {} {}", kind.store, kind.operation, kind.outcome);
        let labels =
            [("store", kind.store), ("operation", kind.operation), ("outcome", kind.outcome)];
        let (count, sum) = (durations.len() as u64, durations.iter().sum());
        let histogram = scrape.histogram(OPERATION_DURATION, &labels);
        rows.equal(format!("{name}: calls"), count, histogram.count);
        rows.close_sums(format!("{name}: time"), (clients, count, sum), histogram.sum, CLOCKS);
    }
    compare_absent(rows, ended, scrape);
}

/// Checks that the stores exported no operations that the program did not call.
fn compare_absent(rows: &mut Comparisons, ended: &Ended, scrape: &Scrape) {
    for store in [names::CALLS, names::REPLICAS, names::FALLBACK, names::UNSTEADY] {
        let of_store = ended.durations.iter().filter(|(kind, _)| kind.store == store);
        let calls = of_store.map(|(_, durations)| durations.len() as u64).sum();
        let labels = [("store", store)];
        let outcomes = scrape.count("eventstore_operation_outcomes_total", &labels);
        rows.equal(format!("{store}: all calls"), calls, outcomes);
    }
}

/// Compares what the program counted with the counters.
pub fn compare_counts(rows: &mut Comparisons, ended: &Ended, scrape: &Scrape) {
    for (count, number) in &ended.counts {
        let labels = count.selected();
        let shown: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let name = format!("{} {}", count.sample, shown.join(" "));
        rows.equal(name, *number, scrape.count(count.sample, &labels));
    }
}

/// Compares the sum of the phases of each operation with its duration.
pub fn compare_phases(rows: &mut Comparisons, scrape: &Scrape) {
    for store in names::ALL {
        for operation in ["append", "decide", "head", "import", "query", "stream"] {
            let labels = [("store", store), ("operation", operation)];
            let whole = scrape.histogram(OPERATION_DURATION, &labels);
            if whole.count > 0 {
                let parts = scrape.sum("eventstore_phase_duration_seconds_sum", &labels);
                rows.close(format!("{store} {operation}"), whole.sum, parts, CLOCKS);
            }
        }
    }
}

/// Compares the number and the durations of the handlers' calls with the load generator's tally,
/// whose times are in milliseconds.
pub fn compare_handlers(rows: &mut Comparisons, clients: u32, tally: &Snapshot, scrape: &Scrape) {
    for (name, figures) in &tally.operations {
        let service = &figures.latencies.service;
        let labels = [("name", name.as_str())];
        let handled = scrape.histogram("eventstore_handler_duration_seconds", &labels);
        rows.equal(format!("{name}: calls"), service.count, handled.count);
        let sum = service.mean * service.count as f64 / 1e3;
        let called = (clients, service.count, sum);
        rows.close_sums(format!("{name}: time"), called, handled.sum, CLOCKS);
    }
}

/// Compares quantiles of the calls that succeeded with the buckets of the metrics.
pub fn compare_quantiles(rows: &mut Comparisons, ended: &Ended, scrape: &Scrape) {
    let succeeded = ended.durations.iter().filter(|(kind, _)| kind.outcome == "success");
    for (kind, durations) in succeeded {
        let labels =
            [("store", kind.store), ("operation", kind.operation), ("outcome", kind.outcome)];
        let histogram = scrape.histogram(OPERATION_DURATION, &labels);
        let mut sorted = durations.clone();
        sorted.sort_by(f64::total_cmp);
        for (name, quantile) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)] {
            let Some(rank) = rank(sorted.len() as u64, quantile) else { continue };
            let what = format!("{} {} {name}", kind.store, kind.operation);
            let measured = sorted[rank as usize - 1];
            rows.within(what, measured, histogram.bucket(quantile), EDGES);
        }
    }
}

const OPERATION_DURATION: &str = "eventstore_operation_duration_seconds";
/// How much two clocks of one call may differ, in per cent.
const CLOCKS: f64 = 2.0;
/// How far outside of its bucket a quantile may be, in per cent: of a fast call, the two clocks differ
/// by more than of the sum.
const EDGES: f64 = 5.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::CallKind;

    const TEXT: &str = "eventstore_operation_duration_seconds_bucket{store=\"calls\",\
         operation=\"query\",outcome=\"success\",le=\"+Inf\"} 2\n\
         eventstore_operation_duration_seconds_sum{store=\"calls\",operation=\"query\",\
         outcome=\"success\"} 1\n\
         eventstore_operation_duration_seconds_count{store=\"calls\",operation=\"query\",\
         outcome=\"success\"} 2\n\
         eventstore_operation_outcomes_total{store=\"calls\",operation=\"query\",\
         outcome=\"success\"} 2\n";

    fn failed(durations: &[f64], text: &str) -> usize {
        let kind = CallKind { store: names::CALLS, operation: "query", outcome: "success" };
        let durations = [(kind, durations.to_vec())].into();
        let mut rows = Comparisons::default();
        let ended = Ended { durations, ..Ended::default() };
        compare_calls(&mut rows, 1, &ended, &Scrape::parse(text).unwrap());
        rows.failed()
    }

    #[test]
    fn a_call_that_is_not_exported_fails() {
        assert_eq!(failed(&[0.5, 0.5], TEXT), 0);
        // The count of this kind, and that of all calls.
        assert_eq!(failed(&[0.5, 0.5, 0.0], TEXT), 2);
        assert_eq!(failed(&[0.5, 0.6], TEXT), 1);
    }

    #[test]
    fn an_exported_call_that_was_not_made_fails() {
        let other = "eventstore_operation_outcomes_total{store=\"replicas\",operation=\"head\",\
             outcome=\"error\"} 1\n";

        assert_eq!(failed(&[0.5, 0.5], &format!("{TEXT}{other}")), 1);
    }
}

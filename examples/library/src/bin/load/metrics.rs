use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

/// The status of a completed operation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Status {
    /// A command stored its event, or a query was answered.
    Success,
    /// The command had nothing to change.
    Idempotent,
    /// The rules forbid the command.
    Rejected,
    /// The last attempt of the command ended with a conflict.
    Conflict,
    /// The operation failed.
    Error,
}

impl Status {
    /// All variants in the order of their declaration.
    pub(crate) const ALL: [Self; 5] =
        [Self::Success, Self::Idempotent, Self::Rejected, Self::Conflict, Self::Error];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Idempotent => "idempotent",
            Self::Rejected => "rejected",
            Self::Conflict => "conflict",
            Self::Error => "error",
        }
    }
}

/// The counts and latencies of operations.
#[derive(Default)]
pub(crate) struct Metrics {
    /// The commands and queries, by name.
    pub(crate) operations: BTreeMap<&'static str, OperationMetrics>,
    /// The number of queries, by the server that answered.
    pub(crate) reads: BTreeMap<String, u64>,
    /// The number of errors by text, for the first [`MAX_ERRORS`] different texts.
    pub(crate) errors: BTreeMap<String, u64>,
}

/// The counts and latencies of one command or query.
pub(crate) struct OperationMetrics {
    counts: [u64; Status::ALL.len()],
    latency: Histogram<u64>,
}

impl Metrics {
    pub(crate) fn record(&mut self, operation: &'static str, status: Status, took: Duration) {
        let measured = self.operations.entry(operation).or_default();
        measured.counts[status as usize] += 1;
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        measured.latency.saturating_record(microseconds);
    }

    pub(crate) fn record_errors(&mut self, text: String, count: u64) {
        if self.errors.len() < MAX_ERRORS || self.errors.contains_key(&text) {
            *self.errors.entry(text).or_default() += count;
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        let Self { operations, reads, errors } = other;
        for (operation, measured) in operations {
            self.operations.entry(operation).or_default().merge(&measured);
        }
        for (server, count) in reads {
            *self.reads.entry(server).or_default() += count;
        }
        for (text, count) in errors {
            self.record_errors(text, count);
        }
    }
}

impl OperationMetrics {
    pub(crate) fn count(&self, status: Status) -> u64 {
        self.counts[status as usize]
    }

    pub(crate) fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns a quantile of the latency, or `None` if there were no operations.
    pub(crate) fn milliseconds(&self, quantile: f64) -> Option<f64> {
        let microseconds = self.latency.value_at_quantile(quantile);
        (!self.latency.is_empty()).then_some(microseconds as f64 / 1_000.0)
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.latency.add(&other.latency).expect("all histograms have the same bounds");
    }
}

impl Default for OperationMetrics {
    fn default() -> Self {
        let latency = Histogram::new_with_bounds(1, MAX_MICROSECONDS, 3);
        Self { counts: Default::default(), latency: latency.expect("the bounds are valid") }
    }
}

/// The highest latency that the histogram distinguishes: one minute.
const MAX_MICROSECONDS: u64 = 60_000_000;
/// The maximum number of different error texts in the report.
const MAX_ERRORS: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_adds_counts_and_latencies() {
        let (mut one, mut other) = (Metrics::default(), Metrics::default());
        one.record("AddBookCopy", Status::Success, Duration::from_millis(1));
        other.record("AddBookCopy", Status::Success, Duration::from_millis(9));
        other.record("AddBookCopy", Status::Conflict, Duration::from_millis(9));

        one.merge(other);

        let measured = &one.operations["AddBookCopy"];
        assert_eq!(Status::ALL.map(|status| measured.count(status)), [2, 0, 0, 1, 0]);
        assert!((8.9..9.1).contains(&measured.milliseconds(0.5).unwrap()));
    }
}

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

/// Says how an operation ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ending {
    /// It did what it was asked for. A query has no other good ending.
    Success,
    /// There was nothing to do.
    Idempotent,
    /// The rules forbade it.
    Rejected,
    /// Another command came first.
    Conflict,
    /// It failed.
    Error,
}

impl Ending {
    /// All endings, in the order of their declaration.
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

/// Counts and measures operations.
#[derive(Default)]
pub(crate) struct Tally {
    /// Commands and queries by name.
    pub(crate) operations: BTreeMap<&'static str, Measured>,
    /// Queries by the server that answered.
    pub(crate) reads: BTreeMap<String, u64>,
    /// Errors by their text; of many different ones, some.
    pub(crate) errors: BTreeMap<String, u64>,
}

/// Is what was measured of one command or query.
pub(crate) struct Measured {
    counts: [u64; Ending::ALL.len()],
    latency: Histogram<u64>,
}

impl Tally {
    pub(crate) fn record(&mut self, operation: &'static str, ending: Ending, took: Duration) {
        let measured = self.operations.entry(operation).or_default();
        measured.counts[ending as usize] += 1;
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        measured.latency.saturating_record(microseconds);
    }

    pub(crate) fn record_errors(&mut self, text: String, count: u64) {
        if self.errors.len() < MAX_ERRORS || self.errors.contains_key(&text) {
            *self.errors.entry(text).or_default() += count;
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        let Self { operations, reads, errors } = other;
        for (operation, measured) in operations {
            self.operations.entry(operation).or_default().add(&measured);
        }
        for (server, count) in reads {
            *self.reads.entry(server).or_default() += count;
        }
        for (text, count) in errors {
            self.record_errors(text, count);
        }
    }
}

impl Measured {
    pub(crate) fn count(&self, ending: Ending) -> u64 {
        self.counts[ending as usize]
    }

    pub(crate) fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns the latency that this share of the operations stayed within.
    pub(crate) fn milliseconds(&self, quantile: f64) -> Option<f64> {
        let microseconds = self.latency.value_at_quantile(quantile);
        (!self.latency.is_empty()).then_some(microseconds as f64 / 1_000.0)
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.latency.add(&other.latency).expect("all histograms have the same bounds");
    }
}

impl Default for Measured {
    fn default() -> Self {
        let latency = Histogram::new_with_bounds(1, MAX_MICROSECONDS, 3);
        Self { counts: Default::default(), latency: latency.expect("the bounds are valid") }
    }
}

/// The longest latency told from longer ones: a minute.
const MAX_MICROSECONDS: u64 = 60_000_000;
/// The most different errors that are told.
const MAX_ERRORS: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_what_several_clients_measured() {
        let (mut one, mut other) = (Tally::default(), Tally::default());
        one.record("AddBookCopy", Ending::Success, Duration::from_millis(1));
        other.record("AddBookCopy", Ending::Success, Duration::from_millis(9));
        other.record("AddBookCopy", Ending::Conflict, Duration::from_millis(9));

        one.add(other);

        let measured = &one.operations["AddBookCopy"];
        assert_eq!(Ending::ALL.map(|ending| measured.count(ending)), [2, 0, 0, 1, 0]);
        assert!((8.9..9.1).contains(&measured.milliseconds(0.5).unwrap()));
    }
}

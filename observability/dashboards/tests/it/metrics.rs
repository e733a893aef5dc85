//! The metrics in Prometheus, derived from the catalog of instruments.

use eddyline::telemetry::{INSTRUMENTS, Instrument, InstrumentKind};

/// A metric that an instrument becomes.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    pub instrument: &'static Instrument,
    pub part: Part,
}

/// What a metric has of its instrument.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// The cumulative count of a histogram's bucket.
    Bucket,
    /// The number of a histogram's values.
    Count,
    /// The value of a gauge or an up-down counter.
    Level,
    /// The sum of a histogram's values.
    Sum,
    /// The value of a counter.
    Total,
}

impl Metric {
    /// Returns the metric with a name.
    pub fn named(name: &str) -> Option<Self> {
        INSTRUMENTS.iter().find_map(|instrument| {
            let suffix = name.strip_prefix(&base_name(instrument))?;
            let part = match (instrument.kind, suffix) {
                (InstrumentKind::Counter, "_total") => Part::Total,
                (InstrumentKind::Gauge | InstrumentKind::UpDownCounter, "") => Part::Level,
                (InstrumentKind::Histogram, "_bucket") => Part::Bucket,
                (InstrumentKind::Histogram, "_count") => Part::Count,
                (InstrumentKind::Histogram, "_sum") => Part::Sum,
                _ => return None,
            };
            Some(Self { instrument, part })
        })
    }

    /// Returns whether the metric only grows.
    pub fn is_counter(self) -> bool {
        self.part != Part::Level
    }

    /// Returns whether the series have a label.
    pub fn has_label(self, label: &str) -> bool {
        let is_attribute = |attribute: &&str| attribute.replace('.', "_") == label;
        match label {
            "instance" | "job" => true,
            "le" => self.part == Part::Bucket,
            _ => self.instrument.attributes.iter().any(is_attribute),
        }
    }

    /// Returns whether a label can have a value.
    pub fn has_value(self, label: &str, value: &str) -> bool {
        let name = self.instrument.name;
        let is_known = |(prefix, labels, values): &(&str, &str, &[&str])| {
            name.starts_with(prefix) && *labels == label && values.contains(&value)
        };
        VALUES.iter().any(is_known)
    }
}

/// Returns the name of an instrument in Prometheus, without the suffix of its kind.
pub fn base_name(instrument: &Instrument) -> String {
    let unit = if instrument.unit == "s" { "_seconds" } else { "" };
    format!("{}{unit}", instrument.name.replace('.', "_"))
}

/// The values of labels that expressions select: of instruments whose names begin like that.
const VALUES: [(&str, &str, &[&str]); 13] = [
    ("db.client.connection", "db_client_connection_state", &["idle", "used"]),
    // No error.
    ("db.client.operation", "error_type", &[""]),
    ("eventstore.errors", "class", CLASSES),
    ("eventstore.events", "direction", &["appended", "read"]),
    ("eventstore.handler", "kind", &["command", "query"]),
    ("eventstore.handler", "outcome", HANDLER_OUTCOMES),
    ("eventstore.operation", "operation", OPERATIONS),
    ("eventstore.operation", "outcome", OUTCOMES),
    ("eventstore.phase", "operation", OPERATIONS),
    ("eventstore.replica.fallbacks", "reason", &["behind", "unreachable"]),
    ("eventstore.replica.waits", "outcome", &["behind", "reached"]),
    ("eventstore.retry.attempts", "reason", CLASSES),
    ("eventstore.retry.outcomes", "outcome", RETRY_OUTCOMES),
];
const CLASSES: &[&str] = &[
    "authentication",
    "bug",
    "canceled",
    "conflict",
    "invalid",
    "outcome_unknown",
    "permission",
    "resource",
    "schema",
    "timeout",
    "transient",
];
const HANDLER_OUTCOMES: &[&str] =
    &["canceled", "conflict", "error", "idempotent", "rejected", "success", "timeout"];
const OPERATIONS: &[&str] = &["append", "decide", "head", "import", "query", "stream"];
const OUTCOMES: &[&str] = &["canceled", "conflict", "error", "success", "timeout"];
const RETRY_OUTCOMES: &[&str] =
    &["budget", "canceled", "deadline", "exhausted", "first_try", "permanent", "recovered"];

//! The metrics in Prometheus, derived from the catalog of instruments.

use eddyline::Class;
use eddyline::error::Reason;
use eddyline::retry::RetryOutcome;
use eddyline::telemetry::{HandlerKind, HandlerOutcome, INSTRUMENTS, Instrument, InstrumentKind};

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
        values(self.instrument.name, label).contains(&value)
    }
}

/// Returns the name of an instrument in Prometheus, without the suffix of its kind.
pub fn base_name(instrument: &Instrument) -> String {
    let unit = if instrument.unit == "s" { "_seconds" } else { "" };
    format!("{}{unit}", instrument.name.replace('.', "_"))
}

/// Returns the values of an instrument's label, if expressions select by them.
fn values(instrument: &str, label: &str) -> Vec<&'static str> {
    match (instrument, label) {
        ("db.client.connection.count", "db_client_connection_state") => vec!["idle", "used"],
        // A request without an error has no such label.
        ("db.client.operation.duration", "error_type") => vec![""],
        ("eventstore.errors", "class") => classes(),
        ("eventstore.handler.duration" | "eventstore.handler.outcomes", "kind") => {
            [HandlerKind::Command, HandlerKind::Query].map(HandlerKind::as_str).to_vec()
        }
        ("eventstore.handler.duration" | "eventstore.handler.outcomes", "outcome") => {
            HANDLER_OUTCOMES.map(HandlerOutcome::as_str).to_vec()
        }
        ("eventstore.operation.duration" | "eventstore.operation.outcomes", "outcome") => {
            vec!["canceled", "conflict", "error", "success", "timeout"]
        }
        (_, "operation") => vec!["append", "decide", "head", "import", "query", "stream"],
        ("eventstore.retry.outcomes", "outcome") => {
            let mut outcomes = RETRY_OUTCOMES.map(RetryOutcome::as_str).to_vec();
            // The call was dropped.
            outcomes.push("canceled");
            outcomes
        }
        _ => Vec::new(),
    }
}

fn classes() -> Vec<&'static str> {
    let permanent = [
        Reason::Authentication,
        Reason::Bug,
        Reason::Invalid,
        Reason::Permission,
        Reason::Resource,
        Reason::Schema,
    ];
    let others =
        [Class::Canceled, Class::Conflict, Class::OutcomeUnknown, Class::Timeout, Class::Transient];
    others.into_iter().chain(permanent.map(Class::Permanent)).map(Class::as_str).collect()
}

const HANDLER_OUTCOMES: [HandlerOutcome; 7] = [
    HandlerOutcome::Canceled,
    HandlerOutcome::Conflict,
    HandlerOutcome::Error,
    HandlerOutcome::Idempotent,
    HandlerOutcome::Rejected,
    HandlerOutcome::Success,
    HandlerOutcome::Timeout,
];
const RETRY_OUTCOMES: [RetryOutcome; 6] = [
    RetryOutcome::Budget,
    RetryOutcome::Deadline,
    RetryOutcome::Exhausted,
    RetryOutcome::FirstTry,
    RetryOutcome::Permanent,
    RetryOutcome::Recovered,
];

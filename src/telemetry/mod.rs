//! What the crate tells OpenTelemetry: one guard per operation, told its outcome once.

mod retry;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use opentelemetry::global::{self, BoxedSpan, BoxedTracer};
use opentelemetry::metrics::{Counter, Histogram, Meter};
use opentelemetry::trace::{Span as _, SpanKind, Status, Tracer as _};
use opentelemetry::{KeyValue, StringValue, Value};

pub(crate) use self::retry::RetryCall;
use self::retry::RetryInstruments;
use crate::Error;
use crate::server::Server;

/// Sends metrics and traces to OpenTelemetry.
///
/// | instrument | kind, unit | attributes |
/// | --- | --- | --- |
/// | `eventstore.operation.duration` | histogram, s | `operation`, `outcome`, `server` |
/// | `eventstore.events` | counter | `direction`, `server` |
/// | `eventstore.conflicts` | counter | |
/// | `eventstore.errors` | counter | `operation`, `error.type`, `db.response.status_code` |
/// | `eventstore.retry.attempts` | counter | `scope`, `reason`, `attempt` |
/// | `eventstore.retry.delay` | histogram, s | `scope` |
/// | `eventstore.retry.outcomes` | counter | `scope`, `outcome` |
///
/// Each operation is a span too (`eventstore.query`, `eventstore.append`, …) of kind client.
/// Neither holds payloads or the values of filters.
///
/// Calls that may be tried again are counted once each, by how they ended: a
/// [`RetryOutcome`](crate::retry::RetryOutcome), or `canceled`. Each attempt after the first is counted
/// with the [class](crate::Class) of the failure before it and its number, from `2` to `6` and
/// `more`, and is an event (`eventstore.retry`) of the caller's span.
#[derive(Clone)]
pub struct Telemetry {
    instruments: Arc<Instruments>,
}

struct Instruments {
    tracer: BoxedTracer,
    duration: Histogram<f64>,
    events: Counter<u64>,
    conflicts: Counter<u64>,
    errors: Counter<u64>,
    retry: RetryInstruments,
}

impl Telemetry {
    /// Sends metrics to a meter and spans to a tracer.
    pub fn new(meter: &Meter, tracer: BoxedTracer) -> Self {
        let instruments = Instruments {
            tracer,
            retry: RetryInstruments::new(meter),
            duration: meter
                .f64_histogram("eventstore.operation.duration")
                .with_unit("s")
                .with_description("time from the caller's call until its answer")
                .with_boundaries(SECONDS.to_vec())
                .build(),
            events: meter
                .u64_counter("eventstore.events")
                .with_unit("{event}")
                .with_description("events read and appended")
                .build(),
            conflicts: meter
                .u64_counter("eventstore.conflicts")
                .with_unit("{conflict}")
                .with_description("appends refused by their condition")
                .build(),
            errors: meter
                .u64_counter("eventstore.errors")
                .with_unit("{error}")
                .with_description("operations that failed for another reason than their condition")
                .build(),
        };
        // A counter that is first seen above zero did not grow, to a query for its rate.
        instruments.conflicts.add(0, &[]);
        Self { instruments: Arc::new(instruments) }
    }

    /// Makes the series of a server known before it has served anything.
    pub(crate) fn announce(&self, server: &Server) {
        let label = server.attribute();
        for direction in ["read", "appended"] {
            let attributes = [KeyValue::new("direction", direction), label.clone()];
            self.instruments.events.add(0, &attributes);
        }
    }

    /// Begins an operation.
    pub(crate) fn operation(&self, name: OperationName, server: &Server) -> Operation {
        let tracer = &self.instruments.tracer;
        let span = tracer
            .span_builder(name.span())
            .with_kind(SpanKind::Client)
            .with_attributes(server.span_attributes(name.as_str()))
            .start(tracer);
        Operation {
            instruments: self.instruments.clone(),
            name,
            server: server.attribute(),
            address: server.address(),
            read: 0,
            appended: 0,
            started: Instant::now(),
            span,
            ended: false,
        }
    }
}

impl Default for Telemetry {
    /// Sends to the global providers, as they are when this is called.
    fn default() -> Self {
        Self::new(&global::meter("eddyline"), global::tracer("eddyline"))
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

/// What a store can be asked to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OperationName {
    Append,
    Decide,
    Head,
    Import,
    Query,
    Stream,
}

impl OperationName {
    fn as_str(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Decide => "decide",
            Self::Head => "head",
            Self::Import => "import",
            Self::Query => "query",
            Self::Stream => "stream",
        }
    }

    fn span(self) -> &'static str {
        match self {
            Self::Append => "eventstore.append",
            Self::Decide => "eventstore.decide",
            Self::Head => "eventstore.head",
            Self::Import => "eventstore.import",
            Self::Query => "eventstore.query",
            Self::Stream => "eventstore.stream",
        }
    }
}

/// An operation under way. It is told its outcome once; dropped untold, it was canceled.
pub(crate) struct Operation {
    instruments: Arc<Instruments>,
    name: OperationName,
    server: KeyValue,
    /// Told once, at the end: a span keeps every value that it is given for a key.
    address: [KeyValue; 2],
    /// How many events were so far.
    read: u64,
    appended: u64,
    started: Instant,
    span: BoxedSpan,
    ended: bool,
}

impl Operation {
    /// Names the server that serves, where it is not the one that was meant to.
    pub(crate) fn served_by(&mut self, server: &Server) {
        self.server = server.attribute();
        self.address = server.address();
    }

    /// Counts events that were read.
    pub(crate) fn count_read(&mut self, events: u64) {
        self.read += events;
    }

    /// Counts events that were appended.
    pub(crate) fn count_appended(&mut self, events: u64) {
        self.appended += events;
    }

    /// Ends the operation well.
    pub(crate) fn succeed(mut self) {
        self.end("success");
    }

    /// Ends the operation with an error.
    pub(crate) fn fail(mut self, error: &Error) {
        if error.is_conflict() {
            self.instruments.conflicts.add(1, &[]);
            return self.end("conflict");
        }
        let mut attributes = vec![
            KeyValue::new("operation", self.name.as_str()),
            KeyValue::new("error.type", error.class().as_str()),
        ];
        if let Some(sqlstate) = error.sqlstate() {
            let code = sqlstate.as_str().to_owned();
            attributes.push(KeyValue::new("db.response.status_code", code));
        }
        self.instruments.errors.add(1, &attributes);
        self.span.set_attributes(attributes);
        self.span.set_status(Status::error(error.class().as_str()));
        self.end(if error.is_timeout() { "timeout" } else { "error" });
    }

    /// Ends the operation as its result says, and passes that on.
    pub(crate) fn finish<T>(self, result: Result<T, Error>) -> Result<T, Error> {
        match &result {
            Ok(_) => self.succeed(),
            Err(error) => self.fail(error),
        }
        result
    }

    fn end(&mut self, outcome: &'static str) {
        self.ended = true;
        for (direction, events) in [("read", self.read), ("appended", self.appended)] {
            if events > 0 {
                let attributes = [KeyValue::new("direction", direction), self.server.clone()];
                self.instruments.events.add(events, &attributes);
            }
        }
        self.span.set_attributes(self.address.clone());
        self.span.set_attribute(KeyValue::new("outcome", outcome));
        let attributes = [
            KeyValue::new("operation", self.name.as_str()),
            KeyValue::new("outcome", outcome),
            self.server.clone(),
        ];
        self.instruments.duration.record(self.started.elapsed().as_secs_f64(), &attributes);
        self.span.end();
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if !self.ended {
            self.end("canceled");
        }
    }
}

impl Server {
    fn attribute(&self) -> KeyValue {
        KeyValue::new("server", Value::String(StringValue::from(self.name.clone())))
    }

    fn span_attributes(&self, operation: &'static str) -> Vec<KeyValue> {
        vec![
            KeyValue::new("db.system.name", "postgresql"),
            KeyValue::new("db.namespace", self.namespace.clone()),
            KeyValue::new("db.collection.name", self.collection.clone()),
            KeyValue::new("db.operation.name", operation),
        ]
    }

    fn address(&self) -> [KeyValue; 2] {
        [
            KeyValue::new("server.address", self.host.clone()),
            KeyValue::new("server.port", i64::from(self.port)),
        ]
    }
}

/// Boundaries from a tenth of a millisecond, which a query may well take, to ten seconds.
const SECONDS: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

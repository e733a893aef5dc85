use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use opentelemetry::global::{self, BoxedSpan, BoxedTracer};
use opentelemetry::metrics::{Counter, Histogram, Meter};
use opentelemetry::trace::{Span as _, SpanKind, Status, Tracer as _};
use opentelemetry::{KeyValue, StringValue, Value};

use super::OperationName;
use super::retry::RetryInstruments;
use crate::Error;
use crate::server::Server;

/// The metrics and traces of stores, through the API of OpenTelemetry.
///
/// | instrument | kind, unit | attributes |
/// | --- | --- | --- |
/// | `eventstore.operation.duration` | histogram, s | `operation`, `outcome`, `server` |
/// | `eventstore.events` | counter | `direction`, `server` |
/// | `eventstore.conflicts` | counter | |
/// | `eventstore.errors` | counter | `operation`, `error.type`, `db.response.status_code` |
/// | `eventstore.replica.fallbacks` | counter | `reason` |
/// | `eventstore.replica.faults` | counter | `server`, `reason` |
/// | `eventstore.replica.waits` | counter | `outcome` |
/// | `eventstore.retry.attempts` | counter | `scope`, `reason`, `attempt` |
/// | `eventstore.retry.delay` | histogram, s | `scope` |
/// | `eventstore.retry.outcomes` | counter | `scope`, `outcome` |
///
/// | attribute | values |
/// | --- | --- |
/// | `operation` | `append`, `decide`, `head`, `import`, `query`, `stream` |
/// | `outcome` of an operation | `success`, `conflict`, `timeout`, `error`, `canceled` |
/// | `server` | `primary`, `replica-0`, `replica-1`, … |
/// | `direction` | `read`, `appended` |
/// | `reason` of a fault | `backwards`, or a [`ReplicaState`](crate::ReplicaState): `diverged`, `duplicate`, `other_log`, `promoted` |
/// | `outcome` of a wait for a position | `reached`, `behind` |
/// | `reason` of a fallback | `behind`, `unreachable`, see [`Fallback`](crate::Fallback) |
/// | `error.type` | [`Class::as_str`](crate::Class::as_str) |
/// | `scope` | [`Store::with_scope`](crate::Store::with_scope), by default the operation |
///
/// Each operation is also a span of kind client (`eventstore.query`, `eventstore.append`, …).
/// Neither metrics nor spans contain payloads or values of filters.
///
/// A call with retries is counted once, by how it ended: a
/// [`RetryOutcome`](crate::retry::RetryOutcome), or `canceled`. Each attempt after the first is
/// counted with the [class](crate::Class) of the previous error and with its number, `2` to `6` or
/// `more`. It is also an event (`eventstore.retry`) of the caller's span.
///
/// ```
/// use eddyline::{Config, Telemetry};
/// use opentelemetry::global;
///
/// let telemetry = Telemetry::new(&global::meter("loans"), global::tracer("loans"));
/// let config = Config::new("postgres://primary/library")?.telemetry(telemetry);
/// # Ok::<(), eddyline::Error>(())
/// ```
#[derive(Clone)]
pub struct Telemetry {
    pub(super) instruments: Arc<Instruments>,
}

pub(super) struct Instruments {
    tracer: BoxedTracer,
    duration: Histogram<f64>,
    events: Counter<u64>,
    conflicts: Counter<u64>,
    errors: Counter<u64>,
    fallbacks: Counter<u64>,
    faults: Counter<u64>,
    waits: Counter<u64>,
    pub(super) retry: RetryInstruments,
}

impl Telemetry {
    /// Makes the instruments with a meter, and spans with a tracer.
    pub fn new(meter: &Meter, tracer: BoxedTracer) -> Self {
        let instruments = Instruments {
            tracer,
            retry: RetryInstruments::new(meter),
            duration: meter
                .f64_histogram("eventstore.operation.duration")
                .with_unit("s")
                .with_description("time from the call of an operation to its result")
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
                .with_description("appends whose condition did not hold")
                .build(),
            errors: meter
                .u64_counter("eventstore.errors")
                .with_unit("{error}")
                .with_description("operations that failed, without conflicts")
                .build(),
            fallbacks: meter
                .u64_counter("eventstore.replica.fallbacks")
                .with_unit("{read}")
                .with_description("reads that the primary answered as the last resort")
                .build(),
            faults: meter
                .u64_counter("eventstore.replica.faults")
                .with_unit("{fault}")
                .with_description("replicas found unfit to be read from, or with a lower head")
                .build(),
            waits: meter
                .u64_counter("eventstore.replica.waits")
                .with_unit("{read}")
                .with_description("reads that waited for a position")
                .build(),
        };
        // A counter that first appears with a value above zero has no rate.
        instruments.conflicts.add(0, &[]);
        Self { instruments: Arc::new(instruments) }
    }

    /// Makes the series of a server visible before the server has answered anything.
    pub(crate) fn announce(&self, server: &Server) {
        let label = server.attribute();
        for direction in ["read", "appended"] {
            let attributes = [KeyValue::new("direction", direction), label.clone()];
            self.instruments.events.add(0, &attributes);
        }
    }

    /// Makes the series of a replica visible before there is anything to count.
    pub(crate) fn announce_replica(&self, server: &Server) {
        for reason in ["backwards", "diverged", "duplicate", "other_log", "promoted"] {
            self.count_fault(server, reason, 0);
        }
        for outcome in ["behind", "reached"] {
            self.instruments.waits.add(0, &[KeyValue::new("outcome", outcome)]);
        }
    }

    /// Counts that a replica was found unfit to be read from.
    pub(crate) fn replica_fault(&self, server: &Server, reason: &'static str) {
        self.count_fault(server, reason, 1);
    }

    fn count_fault(&self, server: &Server, reason: &'static str, count: u64) {
        let attributes = [server.attribute(), KeyValue::new("reason", reason)];
        self.instruments.faults.add(count, &attributes);
    }

    /// Makes the series of a store that may read from the primary visible.
    pub(crate) fn announce_fallbacks(&self) {
        for reason in ["behind", "unreachable"] {
            self.instruments.fallbacks.add(0, &[KeyValue::new("reason", reason)]);
        }
    }

    /// Starts an operation.
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
    /// Uses the global providers, as they are when this is called.
    fn default() -> Self {
        Self::new(&global::meter("eddyline"), global::tracer("eddyline"))
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

/// An operation. Its outcome is recorded once; if it is dropped before, it was canceled.
pub(crate) struct Operation {
    instruments: Arc<Instruments>,
    name: OperationName,
    server: KeyValue,
    /// Recorded once, at the end: a span keeps every value that is set for a key.
    address: [KeyValue; 2],
    /// The events so far.
    read: u64,
    appended: u64,
    started: Instant,
    span: BoxedSpan,
    ended: bool,
}

impl Operation {
    /// Sets the server that answers, if it is not the first of the store.
    pub(crate) fn served_by(&mut self, server: &Server) {
        self.server = server.attribute();
        self.address = server.address();
    }

    /// Counts that the operation waited for a position.
    pub(crate) fn waited(&self, outcome: &'static str) {
        self.instruments.waits.add(1, &[KeyValue::new("outcome", outcome)]);
    }

    /// Counts that the primary answers as the last resort.
    pub(crate) fn fell_back(&self, reason: &'static str) {
        self.instruments.fallbacks.add(1, &[KeyValue::new("reason", reason)]);
    }

    /// Counts events that were read.
    pub(crate) fn count_read(&mut self, events: u64) {
        self.read += events;
    }

    /// Counts events that were appended.
    pub(crate) fn count_appended(&mut self, events: u64) {
        self.appended += events;
    }

    /// Ends the operation with success.
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

    /// Ends the operation with the outcome of its result, which it returns.
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

/// The boundaries of histograms, from 0.1 ms, which a fast query takes, to 10 s.
pub(super) const SECONDS: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

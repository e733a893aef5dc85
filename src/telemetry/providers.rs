use std::fmt;
use std::sync::Arc;

use opentelemetry::global::{self, BoxedTracer};
use opentelemetry::metrics::Meter;

use super::instruments::Instruments;
use super::retry::RetryCall;
use super::scope::Scopes;

/// Where stores send their metrics and traces: a meter and a tracer of OpenTelemetry.
///
/// [`INSTRUMENTS`](super::INSTRUMENTS) lists what is measured. Give all stores of a process clones
/// of one `Telemetry`, and each a [name](crate::Config::name) of its own: the name is an attribute
/// of every metric.
///
/// Each operation is a span (`eventstore.query`, `eventstore.append`, …). Each request that it
/// sends to a server is a span of kind client below it, with the attributes of OpenTelemetry's
/// conventions for PostgreSQL and the duration of the metric `db.client.operation.duration`. The
/// span of a batch of appends (`BATCH append`) has links to all of them. A retry is an event
/// (`eventstore.retry`) of the caller's span.
///
/// Neither metrics nor spans contain payloads, values of filters, or the text of statements.
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
    /// The scopes of calls that are retried without a store.
    scopes: Arc<Scopes>,
}

impl Telemetry {
    /// Makes the instruments with a meter, and spans with a tracer.
    pub fn new(meter: &Meter, tracer: BoxedTracer) -> Self {
        let instruments = Arc::new(Instruments::new(meter, tracer));
        Self { instruments, scopes: Arc::default() }
    }

    /// Makes a guard that counts a call with retries from when it begins.
    pub(crate) fn retry(&self, scope: &'static str) -> RetryCall {
        RetryCall::new(self.scopes.get(&self.instruments, None, scope))
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

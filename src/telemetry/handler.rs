use std::fmt;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use opentelemetry::metrics::{Counter, Histogram};
use opentelemetry::trace::{
    FutureExt as _, Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _,
};
use opentelemetry::{Context, KeyValue};

use super::instruments::Instruments;
use super::series::{CountSeries, ValueSeries};
use super::shared_list::SharedList;
use super::store::StoreTelemetry;
use super::{HandlerKind, HandlerOutcome, Telemetry};

/// A handler of commands or of queries, whose calls are measured and traced.
///
/// [`Telemetry::handler`] makes one, [`Store::handler`](crate::Store::handler) makes one together
/// with a handle to the store. Make it once for each name, and clone it.
///
/// Each call is counted once in `eventstore.handler.outcomes`, and its duration is recorded once in
/// `eventstore.handler.duration`, with the kind, the name and the outcome as attributes. The
/// counters are visible with 0 from when the handler is made. At most 64 handlers of a
/// [`Telemetry`], by kind and name, have series of their own. The calls of all others are counted
/// under the name `other`.
///
/// Each call is a span with the handler's name. The spans of a store's operations are below it, and
/// retries are events of it (`eventstore.retry`).
#[derive(Clone)]
pub struct Handler {
    /// The name of the span, also if the series is that of other handlers.
    name: Arc<str>,
    kind: HandlerKind,
    series: Arc<HandlerSeries>,
    instruments: Arc<Instruments>,
}

impl Handler {
    fn new(instruments: Arc<Instruments>, kind: HandlerKind, name: &str) -> Self {
        let series = instruments.handlers.series(kind, name);
        Self { name: name.into(), kind, series, instruments }
    }

    /// Runs a call of the handler: awaits a future, and records how long it took and how it ended.
    ///
    /// `outcome` tells the outcome from the future's output. The call begins when it is first
    /// polled, and includes everything that the future does: attempts, pauses, the application's
    /// own work.
    ///
    /// ```no_run
    /// use eddyline::telemetry::{HandlerKind, HandlerOutcome};
    /// use eddyline::{Error, Filter, History, ReadOnly, Store};
    ///
    /// # async fn loans(reader: Store<ReadOnly>) -> Result<History<ReadOnly>, Error> {
    /// let (reader, handler) = reader.handler(HandlerKind::Query, "Loans");
    /// let loans = Filter::types(["BookCopyLentToReader"]).build()?;
    /// handler.run(reader.query(&loans), HandlerOutcome::of_result).await
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the future, with the effects that this has on it. The call is counted as
    /// canceled, as it is if the future or `outcome` panics. If it was never polled, nothing is
    /// counted.
    pub async fn run<F: Future>(
        &self,
        future: F,
        outcome: impl FnOnce(&F::Output) -> HandlerOutcome,
    ) -> F::Output {
        let mut call = HandlerCall::start(self);
        let output = future.with_context(call.context.clone()).await;
        call.outcome = outcome(&output);
        output
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, kind, .. } = self;
        f.debug_struct("Handler").field("kind", kind).field("name", name).finish_non_exhaustive()
    }
}

impl Telemetry {
    /// Makes a handler, for applications and parts of them that have no store.
    ///
    /// The name is an attribute of metrics: use that of the command or the query, never an id.
    ///
    /// ```
    /// use eddyline::Telemetry;
    /// use eddyline::telemetry::{HandlerKind, HandlerOutcome};
    ///
    /// async fn overdue_fee(telemetry: &Telemetry) -> u32 {
    ///     let handler = telemetry.handler(HandlerKind::Query, "OverdueFee");
    ///     handler.run(async { 3 }, |_fee| HandlerOutcome::Success).await
    /// }
    /// ```
    pub fn handler(&self, kind: HandlerKind, name: &str) -> Handler {
        Handler::new(self.instruments.clone(), kind, name)
    }
}

impl StoreTelemetry {
    /// Makes a handler.
    pub(crate) fn handler(&self, kind: HandlerKind, name: &str) -> Handler {
        Handler::new(self.0.instruments.clone(), kind, name)
    }
}

/// A call of a handler. Its outcome is recorded when it is dropped.
struct HandlerCall<'a> {
    handler: &'a Handler,
    /// The context of the call's span or, without a provider of traces, that of the caller.
    context: Context,
    has_span: bool,
    started: Instant,
    /// By the clock of the machine, which may jump.
    started_at: SystemTime,
    outcome: HandlerOutcome,
}

impl<'a> HandlerCall<'a> {
    fn start(handler: &'a Handler) -> Self {
        let started_at = SystemTime::now();
        let tracer = &handler.instruments.tracer;
        let span = tracer
            .span_builder(handler.name.to_string())
            .with_kind(SpanKind::Internal)
            .with_start_time(started_at)
            .with_attributes([KeyValue::new("kind", handler.kind.as_str())])
            .start(tracer);
        let caller = Context::current();
        // Without a provider of traces, the tracer returns a span with the caller's identity.
        let has_span = span.span_context() != caller.span().span_context();
        let context = if has_span { caller.with_span(span) } else { caller };
        let outcome = HandlerOutcome::Canceled;
        Self { handler, context, has_span, started: Instant::now(), started_at, outcome }
    }
}

impl Drop for HandlerCall<'_> {
    fn drop(&mut self) {
        let duration = self.started.elapsed();
        self.handler.series.end(self.outcome, duration.as_secs_f64());
        if !self.has_span {
            return;
        }
        let span = self.context.span();
        span.set_attribute(KeyValue::new("outcome", self.outcome.as_str()));
        if matches!(self.outcome, HandlerOutcome::Error | HandlerOutcome::Timeout) {
            span.set_status(Status::error(self.outcome.as_str()));
        }
        span.end_with_timestamp(self.started_at + duration);
    }
}

/// The series of all handlers.
pub(super) struct Handlers {
    duration: Histogram<f64>,
    outcomes: Counter<u64>,
    series: SharedList<HandlerSeries>,
}

impl Handlers {
    pub(super) fn new(duration: Histogram<f64>, outcomes: Counter<u64>) -> Self {
        Self { duration, outcomes, series: SharedList::default() }
    }

    /// Returns the series of a handler, or those that all handlers beyond the limit share.
    fn series(&self, kind: HandlerKind, name: &str) -> Arc<HandlerSeries> {
        let is_named = |one: &HandlerSeries, name: &str| one.kind == kind && *one.name == *name;
        let make = |name: &str| HandlerSeries::new(self, kind, name);
        self.series
            .find_or_add_up_to(MAX_HANDLERS, |one| is_named(one, name), || make(name))
            .unwrap_or_else(|| self.series.find_or_add(|one| is_named(one, OTHER), || make(OTHER)))
    }
}

/// The series of a handler, or of all handlers beyond the limit.
struct HandlerSeries {
    kind: HandlerKind,
    name: Box<str>,
    outcomes: [(CountSeries, ValueSeries); HandlerOutcome::ALL.len()],
}

impl HandlerSeries {
    fn new(handlers: &Handlers, kind: HandlerKind, name: &str) -> Self {
        let outcomes = HandlerOutcome::ALL.map(|outcome| {
            let attributes = [
                KeyValue::new("kind", kind.as_str()),
                KeyValue::new("name", name.to_owned()),
                KeyValue::new("outcome", outcome.as_str()),
            ];
            let count = CountSeries::new(&handlers.outcomes, attributes.clone());
            (count, ValueSeries::new(&handlers.duration, attributes))
        });
        Self { kind, name: name.into(), outcomes }
    }

    fn end(&self, outcome: HandlerOutcome, seconds: f64) {
        let (count, duration) = &self.outcomes[outcome as usize];
        count.add(1);
        duration.record(seconds);
    }
}

/// The most handlers that have series of their own.
const MAX_HANDLERS: usize = 64;
/// The name under which the calls of all further handlers are counted.
const OTHER: &str = "other";

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use opentelemetry::trace::{Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};

use super::OperationName;
use super::phase::OperationPhase;
use super::phase_clock::PhaseClock;
use super::retry::RetryCall;
use super::server_series::{ServerSeries, server_attribute};
use super::store::StoreSeries;
use crate::Error;
use crate::server::Server;

/// How an operation ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    Success,
    Conflict,
    Timeout,
    Error,
    Canceled,
}

impl Outcome {
    pub(super) const ALL: [Self; 5] =
        [Self::Success, Self::Conflict, Self::Timeout, Self::Error, Self::Canceled];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Conflict => "conflict",
            Self::Timeout => "timeout",
            Self::Error => "error",
            Self::Canceled => "canceled",
        }
    }

    fn of(error: &Error) -> Self {
        match error {
            error if error.is_conflict() => Self::Conflict,
            error if error.is_timeout() => Self::Timeout,
            _ => Self::Error,
        }
    }
}

/// An operation. Its outcome is recorded once; if it is dropped before, it was canceled.
pub(crate) struct Operation {
    name: OperationName,
    scope: &'static str,
    server: Arc<ServerSeries>,
    /// The events so far.
    read: u64,
    appended: u64,
    handle: OperationHandle,
    has_ended: bool,
}

/// A handle to an operation, for the parts of the store that work for it.
#[derive(Clone)]
pub(crate) struct OperationHandle(Arc<OperationState>);

struct OperationState {
    store: Arc<StoreSeries>,
    /// By the clock of the machine, which may jump. All times of the operation's spans are this one
    /// plus a time of the monotonic clock.
    started_at: SystemTime,
    started: Instant,
    phases: Mutex<PhaseClock>,
    /// The context of the operation's span.
    context: Context,
}

impl Operation {
    pub(super) fn start(
        store: Arc<StoreSeries>,
        name: OperationName,
        scope: &'static str,
        server: Arc<ServerSeries>,
    ) -> Self {
        let started_at = SystemTime::now();
        let phases = PhaseClock::start(name.first_phase());
        let tracer = &store.instruments.tracer;
        let span = tracer
            .span_builder(name.span())
            .with_kind(SpanKind::Internal)
            .with_start_time(started_at)
            .start(tracer);
        // Without a provider of traces, spans are not valid, and none is kept.
        let context = match span.span_context().is_valid() {
            true => Context::current_with_span(span),
            false => Context::new(),
        };
        let handle = OperationHandle::new(store, started_at, phases, context);
        Self { name, scope, server, read: 0, appended: 0, handle, has_ended: false }
    }

    /// Returns a handle to the operation.
    pub(crate) fn handle(&self) -> &OperationHandle {
        &self.handle
    }

    /// Makes a guard that counts the retries of the operation under its scope.
    pub(crate) fn retry(&self) -> RetryCall {
        RetryCall::new(self.handle.0.store.scope(self.scope)).of_operation(&self.handle)
    }

    /// Sets the server that answers, if it is not the first of the store.
    pub(crate) fn served_by(&mut self, server: &Server) {
        if *self.server.name != *server.name {
            self.server = self.handle.0.store.server(server);
        }
    }

    /// Counts that the operation waited for a position.
    pub(crate) fn waited(&self, outcome: &'static str) {
        self.handle.0.store.waited(outcome, 1);
    }

    /// Counts that the primary answers as the last resort.
    pub(crate) fn fell_back(&self, reason: &'static str) {
        self.handle.0.store.fell_back(reason, 1);
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
        self.end(Outcome::Success, None);
    }

    /// Ends the operation with an error.
    pub(crate) fn fail(mut self, error: &Error) {
        self.end(Outcome::of(error), Some(error));
    }

    /// Ends the operation with the outcome of its result, which it returns.
    pub(crate) fn finish<T>(self, result: Result<T, Error>) -> Result<T, Error> {
        match &result {
            Ok(_) => self.succeed(),
            Err(error) => self.fail(error),
        }
        result
    }

    fn end(&mut self, outcome: Outcome, error: Option<&Error>) {
        self.has_ended = true;
        let store = &self.handle.0.store;
        let mut phases = self.handle.phases();
        let duration = phases.stop();
        if let Some(series) = self.server.operation(self.name) {
            series.end(outcome, duration.as_secs_f64());
            for (phase, time) in phases.times() {
                series.phase(phase, time.as_secs_f64());
            }
        }
        drop(phases);
        if self.read > 0 {
            self.server.read.add(self.read);
        }
        if let Some(appended) = self.server.appended.as_ref().filter(|_| self.appended > 0) {
            appended.add(self.appended);
        }
        match (outcome, error) {
            (Outcome::Conflict, _) => store.scope(self.scope).conflicted(),
            (_, Some(error)) => store.count_error(self.name, error.class()),
            (_, None) => {}
        }
        self.end_span(outcome, error, duration);
        #[cfg(feature = "tracing")]
        self.log(outcome, error, duration);
    }

    #[cfg(feature = "tracing")]
    fn log(&self, outcome: Outcome, error: Option<&Error>, duration: Duration) {
        let OperationState { store, context, .. } = &*self.handle.0;
        super::logs::OperationRecord {
            store: &store.store,
            server: &self.server.name,
            operation: self.name.as_str(),
            scope: self.scope,
            outcome,
            duration,
            context,
            error,
        }
        .log();
    }

    fn end_span(&self, outcome: Outcome, error: Option<&Error>, duration: Duration) {
        if !self.handle.is_traced() {
            return;
        }
        let span = self.handle.0.context.span();
        if span.is_recording() {
            let store = &self.handle.0.store;
            span.set_attributes([
                store.attribute(),
                KeyValue::new("operation", self.name.as_str()),
                KeyValue::new("scope", self.scope),
                KeyValue::new("outcome", outcome.as_str()),
                server_attribute(&self.server.name),
                KeyValue::new("events.read", i64::try_from(self.read).unwrap_or(i64::MAX)),
                KeyValue::new("events.appended", i64::try_from(self.appended).unwrap_or(i64::MAX)),
            ]);
            if let Some(error) = error {
                span.set_attribute(KeyValue::new("class", error.class().as_str()));
            }
        }
        // A conflict is an answer, not a failure of the store.
        if let Some(error) = error.filter(|_| outcome != Outcome::Conflict) {
            span.set_status(Status::error(error.class().as_str()));
        }
        span.end_with_timestamp(self.handle.0.started_at + duration);
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if !self.has_ended {
            self.end(Outcome::Canceled, None);
        }
    }
}

impl OperationHandle {
    fn new(
        store: Arc<StoreSeries>,
        started_at: SystemTime,
        phases: PhaseClock,
        context: Context,
    ) -> Self {
        let (started, phases) = (phases.started(), Mutex::new(phases));
        Self(Arc::new(OperationState { store, started_at, started, phases, context }))
    }

    /// Makes a handle for what is done for no operation: nobody reads its phases.
    pub(super) fn background(store: Arc<StoreSeries>) -> Self {
        let phases = PhaseClock::start(OperationPhase::Execute);
        Self::new(store, SystemTime::now(), phases, Context::new())
    }

    /// Makes a handle that nobody reads.
    #[cfg(test)]
    pub(crate) fn of_test() -> Self {
        let store = super::Telemetry::default().of_store("test", crate::Role::Primary);
        store.background()
    }

    /// Begins another phase of the operation.
    pub(crate) fn enter(&self, phase: OperationPhase) {
        self.phases().enter(phase);
    }

    /// Awaits an answer that arrives piece by piece. The time in which this task works on the
    /// pieces counts as decoding, the time in which it waits for them as execution.
    pub(crate) async fn working<F: Future>(&self, answer: F) -> F::Output {
        let mut answer = pin!(answer);
        let working = poll_fn(|cx| {
            self.enter(OperationPhase::Decode);
            let polled = answer.as_mut().poll(cx);
            if polled.is_pending() {
                self.enter(OperationPhase::Execute);
            }
            polled
        });
        working.await
    }

    pub(super) fn store(&self) -> &Arc<StoreSeries> {
        &self.0.store
    }

    /// Returns the time of spans at a time of the monotonic clock.
    pub(super) fn time_at(&self, time: Instant) -> SystemTime {
        self.0.started_at + time.saturating_duration_since(self.0.started)
    }

    /// Returns whether the operation has a span.
    pub(super) fn is_traced(&self) -> bool {
        self.0.context.has_active_span()
    }

    /// Returns the context of the operation's span.
    pub(super) fn context(&self) -> &Context {
        &self.0.context
    }

    fn phases(&self) -> MutexGuard<'_, PhaseClock> {
        self.0.phases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

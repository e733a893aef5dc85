use std::time::Duration;

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceId};
use opentelemetry::{Context, KeyValue};
use tracing::Level;
use tracing::field::{DisplayValue, display};

use super::operation::Outcome;
use crate::{Class, Error};

/// The end of an operation. Its record has the text of the error without its sources: a server's
/// message may quote values.
pub(super) struct OperationRecord<'a> {
    pub(super) store: &'a KeyValue,
    pub(super) server: &'a str,
    pub(super) operation: &'static str,
    pub(super) scope: &'static str,
    pub(super) outcome: Outcome,
    pub(super) duration: Duration,
    pub(super) context: &'a Context,
    pub(super) error: Option<&'a Error>,
}

impl OperationRecord<'_> {
    pub(super) fn log(&self) {
        // The level of a record has to be a constant.
        macro_rules! log {
            ($level:expr, $message:literal) => {
                tracing::event!(
                    target: TARGET,
                    $level,
                    store = &*self.store.value.as_str(),
                    server = self.server,
                    operation = self.operation,
                    scope = self.scope,
                    outcome = self.outcome.as_str(),
                    class = self.error.map(|error| error.class().as_str()),
                    duration = self.duration.as_secs_f64(),
                    trace_id = trace_id(self.context),
                    span_id = span_id(self.context),
                    error = self.error.map(display),
                    $message
                )
            };
        }
        match self.outcome {
            Outcome::Success => log!(Level::TRACE, "operation succeeded"),
            Outcome::Canceled => log!(Level::DEBUG, "operation canceled by its caller"),
            Outcome::Conflict => log!(Level::DEBUG, "operation ended with a conflict"),
            Outcome::Error | Outcome::Timeout => log!(Level::WARN, "operation failed"),
        }
    }
}

/// Logs that another attempt follows.
pub(super) fn retry(
    store: Option<&KeyValue>,
    scope: &str,
    reason: Class,
    attempt: u32,
    pause: Duration,
) {
    let context = Context::current();
    tracing::debug!(
        target: TARGET,
        store = store.map(|store| display(&store.value)),
        scope,
        reason = reason.as_str(),
        attempt,
        pause = pause.as_secs_f64(),
        trace_id = trace_id(&context),
        span_id = span_id(&context),
        "another attempt follows"
    );
}

/// Logs that a decision takes the log's lock.
pub(super) fn escalation(store: &KeyValue, scope: &str) {
    let context = Context::current();
    tracing::info!(
        target: TARGET,
        store = &*store.value.as_str(),
        scope,
        trace_id = trace_id(&context),
        span_id = span_id(&context),
        "decision takes the log's lock after several conflicts"
    );
}

/// Logs that a replica must not be read from, or has a lower head than before.
pub(super) fn replica_fault(store: &KeyValue, server: &str, reason: &str) {
    tracing::warn!(
        target: TARGET,
        store = &*store.value.as_str(),
        server,
        reason,
        "replica is unfit to be read from, or has a lower head than before"
    );
}

/// Logs that a connection could not be opened.
pub(super) fn connection_failed([store, pool]: &[KeyValue; 2], error: &Error) {
    tracing::warn!(
        target: TARGET,
        store = &*store.value.as_str(),
        pool = &*pool.value.as_str(),
        class = error.class().as_str(),
        error = display(error),
        "connection failed"
    );
}

fn trace_id(context: &Context) -> Option<DisplayValue<TraceId>> {
    valid(context).map(|span| display(span.trace_id()))
}

fn span_id(context: &Context) -> Option<DisplayValue<SpanId>> {
    valid(context).map(|span| display(span.span_id()))
}

/// Returns the identity of the span of a context, unless there is no tracer.
fn valid(context: &Context) -> Option<SpanContext> {
    let span = context.span();
    Some(span.span_context()).filter(|span| span.is_valid()).cloned()
}

/// The target of all records.
const TARGET: &str = "eddyline";

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::TraceContextExt as _;
use opentelemetry::{Context, KeyValue};
use tokio::time::Instant;

use super::operation::OperationHandle;
use super::phase::OperationPhase;
use super::scope::ScopeSeries;
use crate::Class;

/// A call with retries. Its outcome is recorded once; if it is dropped before, after it began, it
/// was canceled.
pub(crate) struct RetryCall {
    series: Arc<ScopeSeries>,
    /// The operation that the call is, if it is one.
    operation: Option<OperationHandle>,
    has_begun: bool,
    /// The start and the planned length of the current pause.
    pause: Option<(Instant, Duration)>,
}

impl RetryCall {
    pub(super) fn new(series: Arc<ScopeSeries>) -> Self {
        Self { series, operation: None, has_begun: false, pause: None }
    }

    /// Sets the operation whose pauses these are.
    pub(crate) fn of_operation(mut self, operation: &OperationHandle) -> Self {
        self.operation = Some(operation.clone());
        self
    }

    /// Begins the call.
    pub(crate) fn begin(&mut self) {
        self.has_begun = true;
    }

    /// Counts the next attempt, and starts the pause before it.
    pub(crate) fn retry(&mut self, attempt: u32, reason: Class, pause: Duration) {
        self.series.retried(attempt, reason);
        #[cfg(feature = "tracing")]
        super::logs::retry(self.series.store(), self.series.name, reason, attempt, pause);
        Context::map_current(|context| {
            let event = vec![
                KeyValue::new("scope", self.series.name),
                KeyValue::new("reason", reason.as_str()),
                KeyValue::new("attempt", i64::from(attempt)),
                KeyValue::new("pause", pause.as_secs_f64()),
            ];
            context.span().add_event("eventstore.retry", event);
        });
        if let Some(operation) = &self.operation {
            operation.enter(OperationPhase::Pause);
        }
        self.pause = Some((Instant::now(), pause));
    }

    /// Ends the pause after its planned length.
    pub(crate) fn paused(&mut self) {
        if let Some((_, pause)) = self.pause.take() {
            self.series.paused(pause);
        }
    }

    /// Ends the call.
    pub(crate) fn end(&mut self, outcome: &'static str) {
        self.has_begun = false;
        self.series.ended(outcome);
    }
}

impl Drop for RetryCall {
    fn drop(&mut self) {
        if let Some((started, pause)) = self.pause.take() {
            self.series.paused(started.elapsed().min(pause));
        }
        if self.has_begun {
            self.end("canceled");
        }
    }
}

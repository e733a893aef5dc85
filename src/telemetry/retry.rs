use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use opentelemetry::metrics::{Counter, Histogram, Meter};
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry::{Context, KeyValue};
use tokio::time::Instant;

use super::instruments::{SECONDS, Telemetry};
use crate::Class;

/// The instruments of calls with retries.
pub(super) struct RetryInstruments {
    attempts: Counter<u64>,
    delay: Histogram<f64>,
    outcomes: Counter<u64>,
    /// The scopes whose series are visible already.
    scopes: RwLock<Vec<&'static str>>,
}

impl RetryInstruments {
    pub(super) fn new(meter: &Meter) -> Self {
        Self {
            attempts: meter
                .u64_counter("eventstore.retry.attempts")
                .with_unit("{attempt}")
                .with_description("attempts after the first, counted before their pause")
                .build(),
            delay: meter
                .f64_histogram("eventstore.retry.delay")
                .with_unit("s")
                .with_description(
                    "pauses before attempts; of a canceled pause, the time that passed",
                )
                .with_boundaries(SECONDS.to_vec())
                .build(),
            outcomes: meter
                .u64_counter("eventstore.retry.outcomes")
                .with_unit("{call}")
                .with_description("calls with retries, by how they ended")
                .build(),
            scopes: RwLock::default(),
        }
    }

    /// Makes the series of a scope visible before there is anything to count.
    fn announce(&self, scope: &'static str) {
        if self.scopes.read().unwrap_or_else(PoisonError::into_inner).contains(&scope) {
            return;
        }
        // Two threads may do this at the same time: both add zero.
        for outcome in OUTCOMES {
            self.outcomes
                .add(0, &[KeyValue::new("scope", scope), KeyValue::new("outcome", outcome)]);
        }
        for class in [Class::Conflict, Class::OutcomeUnknown, Class::Timeout, Class::Transient] {
            for attempt in ATTEMPTS {
                self.attempts.add(0, &attempt_attributes(scope, class, attempt));
            }
        }
        self.scopes.write().unwrap_or_else(PoisonError::into_inner).push(scope);
    }
}

impl Telemetry {
    /// Makes a guard that counts a call with retries from when it begins.
    pub(crate) fn retry(&self, scope: &'static str) -> RetryCall<'_> {
        let instruments = &self.instruments.retry;
        RetryCall { instruments, scope, has_begun: false, pause: None }
    }
}

/// A call with retries. Its outcome is recorded once; if it is dropped before, after it began, it
/// was canceled.
pub(crate) struct RetryCall<'a> {
    instruments: &'a RetryInstruments,
    scope: &'static str,
    has_begun: bool,
    /// The start and the planned length of the current pause.
    pause: Option<(Instant, Duration)>,
}

impl RetryCall<'_> {
    /// Begins the call.
    pub(crate) fn begin(&mut self) {
        self.instruments.announce(self.scope);
        self.has_begun = true;
    }

    /// Counts the next attempt, and starts the pause before it.
    pub(crate) fn retry(&mut self, attempt: u32, reason: Class, pause: Duration) {
        let label =
            ATTEMPTS[usize::try_from(attempt.saturating_sub(2)).unwrap_or(usize::MAX).min(5)];
        self.instruments.attempts.add(1, &attempt_attributes(self.scope, reason, label));
        Context::map_current(|context| {
            let event = vec![
                KeyValue::new("scope", self.scope),
                KeyValue::new("reason", reason.as_str()),
                KeyValue::new("attempt", i64::from(attempt)),
                KeyValue::new("pause", pause.as_secs_f64()),
            ];
            context.span().add_event("eventstore.retry", event);
        });
        self.pause = Some((Instant::now(), pause));
    }

    /// Ends the pause after its planned length.
    pub(crate) fn paused(&mut self) {
        if let Some((_, pause)) = self.pause.take() {
            self.record(pause);
        }
    }

    /// Ends the call.
    pub(crate) fn end(&mut self, outcome: &'static str) {
        self.has_begun = false;
        let attributes = [KeyValue::new("scope", self.scope), KeyValue::new("outcome", outcome)];
        self.instruments.outcomes.add(1, &attributes);
    }

    fn record(&self, pause: Duration) {
        self.instruments.delay.record(pause.as_secs_f64(), &[KeyValue::new("scope", self.scope)]);
    }
}

impl Drop for RetryCall<'_> {
    fn drop(&mut self) {
        if let Some((started, pause)) = self.pause.take() {
            self.record(started.elapsed().min(pause));
        }
        if self.has_begun {
            self.end("canceled");
        }
    }
}

fn attempt_attributes(scope: &'static str, reason: Class, attempt: &'static str) -> [KeyValue; 3] {
    [
        KeyValue::new("scope", scope),
        KeyValue::new("reason", reason.as_str()),
        KeyValue::new("attempt", attempt),
    ]
}

/// The outcomes of calls.
const OUTCOMES: [&str; 7] =
    ["budget", "canceled", "deadline", "exhausted", "first_try", "permanent", "recovered"];

/// The labels of the attempts after the first.
const ATTEMPTS: [&str; 6] = ["2", "3", "4", "5", "6", "more"];

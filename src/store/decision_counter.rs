use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};

use crate::telemetry::StoreTelemetry;

/// The counts of a decision. They are recorded when it is dropped, however the decision ends.
pub(super) struct DecisionCounter<'a> {
    telemetry: &'a StoreTelemetry,
    scope: &'static str,
    conflicts: AtomicU32,
    has_escalated: AtomicBool,
    /// The events that the last attempt has read; a negative number before the first answer.
    events: AtomicI64,
}

impl<'a> DecisionCounter<'a> {
    pub(super) fn new(telemetry: &'a StoreTelemetry, scope: &'static str) -> Self {
        Self {
            telemetry,
            scope,
            conflicts: AtomicU32::new(0),
            has_escalated: AtomicBool::new(false),
            events: AtomicI64::new(-1),
        }
    }

    pub(super) fn conflicts(&self) -> u32 {
        self.conflicts.load(Ordering::Relaxed)
    }

    pub(super) fn count_conflict(&self) {
        self.conflicts.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts once that the decision takes the log's lock.
    pub(super) fn escalate(&self) {
        if !self.has_escalated.swap(true, Ordering::Relaxed) {
            self.telemetry.escalated(self.scope);
        }
    }

    /// Notes how many events an attempt has read.
    pub(super) fn note_events(&self, events: usize) {
        self.events.store(i64::try_from(events).unwrap_or(i64::MAX), Ordering::Relaxed);
    }
}

impl Drop for DecisionCounter<'_> {
    fn drop(&mut self) {
        let events = u64::try_from(self.events.load(Ordering::Relaxed)).ok();
        self.telemetry.decided(self.scope, self.conflicts(), events);
    }
}

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::transact::Transaction;
use crate::log::LogName;
use crate::sql::{self, Append, Occasion, Staleness, Waits};
use crate::{AppendCondition, Event, SequenceNumber};

/// From how many events behind the end of the log on a condition is judged by index.
const STALE_AFTER: u64 = 1_000;

/// A log, as far as a store knows it.
pub(super) struct Log {
    pub(super) name: LogName,
    pub(super) store_texts: sql::StoreTexts,
    /// The highest end of the log that was seen, to tell a fresh condition from a stale one.
    newest: AtomicU64,
}

impl Log {
    pub(super) fn new(name: LogName) -> Self {
        Self { store_texts: sql::StoreTexts::new(&name), name, newest: AtomicU64::new(0) }
    }

    pub(super) fn newest(&self) -> SequenceNumber {
        SequenceNumber::new(self.newest.load(Ordering::Relaxed))
    }

    pub(super) fn note_newest(&self, position: SequenceNumber) {
        self.newest.fetch_max(position.value(), Ordering::Relaxed);
    }

    /// Says how far a condition lies behind.
    pub(super) fn staleness(&self, condition: &AppendCondition) -> Staleness {
        match condition.guard() {
            Some(guard)
                if self.newest().value().saturating_sub(guard.after.value()) > STALE_AFTER =>
            {
                Staleness::Stale
            }
            _ => Staleness::Fresh,
        }
    }

    /// Renders the statement by which the server judges an append and stores it.
    pub(super) fn append<'a>(
        &self,
        events: &'a [Event],
        condition: &'a AppendCondition,
        occasion: Occasion,
    ) -> sql::Statement<'a> {
        let staleness = self.staleness(condition);
        Append { events, guard: condition.guard(), staleness, occasion }.statement(&self.name)
    }

    /// Renders an append's transaction, to be run within a limit.
    pub(super) fn transaction<'a>(
        &'a self,
        events: &'a [Event],
        condition: &'a AppendCondition,
        occasion: Occasion,
        lock_timeout: Option<Duration>,
    ) -> Transaction<'a> {
        let for_client = time_to_arrive(events);
        let waits = Waits { for_lock: lock_timeout, for_client };
        Transaction {
            log: &self.name,
            lock: sql::lock(&self.name, self.staleness(condition), waits),
            append: self.append(events, condition, occasion),
            events,
            occasion,
            for_client,
        }
    }
}

/// Returns how long the server has to wait for a large append, at the pace of a slow network; in
/// powers of two, so that few different statements come about.
pub(super) fn time_to_arrive<'a>(events: impl IntoIterator<Item = &'a Event>) -> Option<Duration> {
    let seconds = bytes_of(events) / BYTES_PER_SECOND;
    if seconds == 0 {
        return None;
    }
    let seconds = (seconds as u64 + sql::IDLE_TIMEOUT.as_secs()).next_power_of_two();
    Some(Duration::from_secs(seconds))
}

pub(super) fn bytes_of<'a>(events: impl IntoIterator<Item = &'a Event>) -> usize {
    events.into_iter().map(|event| event.payload_json().len() + event.metadata_json().len()).sum()
}

/// The pace at which a large append arrives at least, unless it does not arrive at all.
pub(super) const BYTES_PER_SECOND: usize = 64 << 10;

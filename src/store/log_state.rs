use std::sync::atomic::{AtomicU64, Ordering};

use crate::SequenceNumber;
use crate::condition::FilterPosition;
use crate::log_name::LogName;
use crate::sql::AppendTexts;

/// The log of a store: its name, the statements that append to it, and the newest position seen.
pub(super) struct LogState {
    pub(super) name: LogName,
    pub(super) append_texts: AppendTexts,
    /// The highest position that this store has seen, by which old conditions are distinguished
    /// from recent ones.
    newest: AtomicU64,
}

impl LogState {
    pub(super) fn new(name: LogName) -> Self {
        Self { append_texts: AppendTexts::new(&name), name, newest: AtomicU64::new(0) }
    }

    pub(super) fn newest(&self) -> SequenceNumber {
        SequenceNumber::new(self.newest.load(Ordering::Relaxed))
    }

    pub(super) fn note_newest(&self, position: SequenceNumber) {
        self.newest.fetch_max(position.value(), Ordering::Relaxed);
    }

    /// Returns whether a condition is so old that a search validates it before the append takes the
    /// log's lock. SAFETY.md, Bounded work under the lock.
    pub(super) fn is_old(&self, condition: &FilterPosition) -> bool {
        self.newest().value().saturating_sub(condition.after.value()) > MAX_RECENT_DISTANCE
    }
}

/// A condition is old if its position lies further than this behind the newest position seen.
const MAX_RECENT_DISTANCE: u64 = 1_000;

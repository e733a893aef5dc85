use std::sync::atomic::{AtomicU64, Ordering};

use crate::condition::Guard;
use crate::log_name::LogName;
use crate::sql::AppendTexts;
use crate::{Event, SequenceNumber};

/// From how many events behind the head on a condition is searched for before it is validated under
/// the log's lock.
const OLD_AFTER: u64 = 1_000;

/// A log, as far as a store knows it.
pub(super) struct Log {
    pub(super) name: LogName,
    pub(super) append_texts: AppendTexts,
    /// The highest position that was seen, to tell a fresh condition from an old one.
    newest: AtomicU64,
}

impl Log {
    pub(super) fn new(name: LogName) -> Self {
        Self { append_texts: AppendTexts::new(&name), name, newest: AtomicU64::new(0) }
    }

    pub(super) fn newest(&self) -> SequenceNumber {
        SequenceNumber::new(self.newest.load(Ordering::Relaxed))
    }

    pub(super) fn note_newest(&self, position: SequenceNumber) {
        self.newest.fetch_max(position.value(), Ordering::Relaxed);
    }

    /// Returns whether a condition lies far behind the head.
    pub(super) fn is_old(&self, guard: &Guard) -> bool {
        self.newest().value().saturating_sub(guard.after.value()) > OLD_AFTER
    }
}

/// Returns how many bytes of JSON events have.
pub(super) fn bytes_of<'a>(events: impl IntoIterator<Item = &'a Event>) -> usize {
    events.into_iter().map(|event| event.payload_json().len() + event.metadata_json().len()).sum()
}

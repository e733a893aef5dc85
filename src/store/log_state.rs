use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::Bookmark;
use crate::condition::FilterPosition;
use crate::log_name::LogName;
use crate::sql::AppendTexts;

/// The log of a store: its name, the statements that append to it, and the newest position seen.
pub(super) struct LogState {
    pub(super) name: LogName,
    pub(super) append_texts: AppendTexts,
    /// The highest position that this store has seen in the newest epoch, by which old conditions
    /// are distinguished from recent ones.
    newest: Mutex<Bookmark>,
}

impl LogState {
    pub(super) fn new(name: LogName) -> Self {
        Self { append_texts: AppendTexts::new(&name), name, newest: Mutex::default() }
    }

    pub(super) fn newest(&self) -> Bookmark {
        *self.lock()
    }

    /// Notes a position that was seen. In another epoch the log may have lost its last events, so
    /// the newest position begins anew. A late answer from before may set it back, which makes
    /// appends slower for a moment, and no less safe.
    pub(super) fn note_newest(&self, seen: Bookmark) {
        let mut newest = self.lock();
        let has_begun = seen.epoch() != newest.epoch() && seen.epoch().is_some();
        if has_begun || seen.position() > newest.position() {
            *newest = seen;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Bookmark> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether a condition is so old that a search validates it before the append takes the
    /// log's lock: it is from another epoch, or its position is far below the newest one.
    /// SAFETY.md, Bounded work under the lock.
    pub(super) fn is_old(&self, condition: &FilterPosition) -> bool {
        let (newest, after) = (self.newest(), condition.after);
        let distance = newest.position().value().saturating_sub(after.position().value());
        after.epoch().is_some_and(|epoch| Some(epoch) != newest.epoch())
            || distance > MAX_RECENT_DISTANCE
    }
}

/// A condition is old if its position lies further than this behind the newest position seen.
const MAX_RECENT_DISTANCE: u64 = 1_000;

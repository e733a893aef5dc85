use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time of a server's last failure. For a while after it, reads try the other servers first.
#[derive(Default)]
pub(super) struct RecentFailure(Mutex<Option<Instant>>);

impl RecentFailure {
    /// Records a failure of the server, or clears the last one.
    pub(super) fn set(&self, has_failed: bool) {
        let failed_at = has_failed.then(Instant::now);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = failed_at;
    }

    /// Returns whether the server failed within the last second.
    pub(super) fn is_recent(&self) -> bool {
        let failed_at = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failed_at.is_some_and(|at| at.elapsed() < RECENT)
    }
}

/// The time for which a failed server is tried last.
const RECENT: Duration = Duration::from_secs(1);

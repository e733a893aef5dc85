use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// When a server failed, so that another one is asked first for a while.
#[derive(Default)]
pub(super) struct RecentFailure(Mutex<Option<Instant>>);

impl RecentFailure {
    /// Notes whether the server failed.
    pub(super) fn note(&self, failed: bool) {
        let failed = failed.then(Instant::now);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = failed;
    }

    /// Returns whether the server failed a moment ago.
    pub(super) fn is_fresh(&self) -> bool {
        let failed = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|at| at.elapsed() < FRESH)
    }
}

/// How long a server that failed is asked last.
const FRESH: Duration = Duration::from_secs(1);

//! Polling with a timeout.

use std::time::{Duration, Instant};

use crate::Error;

/// The time at which a wait fails.
///
/// It uses the system clock rather than that of tokio, which a test may have paused.
#[derive(Debug)]
pub(crate) struct Deadline {
    start: Instant,
    timeout: Duration,
}

impl Deadline {
    /// Returns the deadline after `timeout` from now.
    pub(crate) fn after(timeout: Duration) -> Self {
        Self { start: Instant::now(), timeout }
    }

    /// Returns whether the deadline has passed.
    pub(crate) fn has_passed(&self) -> bool {
        self.start.elapsed() >= self.timeout
    }

    /// Pauses before the next poll, or fails if the deadline has passed.
    pub(crate) async fn pause(&self, expired: impl FnOnce(Duration) -> Error) -> Result<(), Error> {
        if self.has_passed() {
            return Err(expired(self.timeout));
        }
        tokio::time::sleep(INTERVAL).await;
        Ok(())
    }
}

/// The time between two polls.
pub(crate) const INTERVAL: Duration = Duration::from_millis(5);

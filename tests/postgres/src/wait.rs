//! Waiting for facts: polling with a bound.

use std::time::{Duration, Instant};

use crate::Error;

/// The moment a wait ends without success.
///
/// The clock is the machine's, not the runtime's, which a test may have paused.
#[derive(Debug)]
pub(crate) struct Deadline {
    start: Instant,
    patience: Duration,
}

impl Deadline {
    /// Allows `patience` from now on.
    pub(crate) fn after(patience: Duration) -> Self {
        Self { start: Instant::now(), patience }
    }

    /// Says whether the time is over.
    pub(crate) fn has_passed(&self) -> bool {
        self.start.elapsed() >= self.patience
    }

    /// Pauses before the next look at a fact, or fails when the time is over.
    pub(crate) async fn pause(&self, expired: impl FnOnce(Duration) -> Error) -> Result<(), Error> {
        if self.has_passed() {
            return Err(expired(self.patience));
        }
        tokio::time::sleep(INTERVAL).await;
        Ok(())
    }
}

/// The time between two looks at a fact.
pub(crate) const INTERVAL: Duration = Duration::from_millis(5);

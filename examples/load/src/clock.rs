//! The clock of a load.

use std::time::Instant;

/// Returns the time of the clock of tokio, which a test can pause. Without a runtime this is the
/// time of the system.
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

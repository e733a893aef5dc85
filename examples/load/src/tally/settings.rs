use std::time::{Duration, Instant};

use crate::clock;

/// How a tally counts.
#[derive(Clone, Copy, Debug)]
pub struct TallySettings {
    /// The start of the load.
    pub start: Instant,
    /// The length of a window. At least a millisecond is used.
    pub window: Duration,
    /// How long after its intended time an operation may begin without being late.
    pub late_after: Duration,
}

impl TallySettings {
    /// Returns settings for a load of this duration: at most 240 windows of whole seconds.
    pub fn for_duration(start: Instant, duration: Duration) -> Self {
        let seconds = duration.as_secs_f64() / f64::from(WINDOWS);
        let window = Duration::from_secs((seconds.ceil() as u64).max(1));
        Self { start, window, ..Self::default() }
    }
}

impl Default for TallySettings {
    fn default() -> Self {
        let (window, late_after) = (Duration::from_secs(1), Duration::from_millis(100));
        Self { start: clock::now(), window, late_after }
    }
}

const WINDOWS: u32 = 240;

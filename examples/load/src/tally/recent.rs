use std::collections::VecDeque;
use std::time::Duration;

use super::Ended;
use super::times::Times;
use crate::plan::Group;

/// The last seconds of a load.
#[derive(Default)]
pub struct Recent {
    closed: VecDeque<Second>,
    /// The number of seconds that were closed.
    index: u64,
    ended: u64,
    latency: Times,
}

/// A second of a load.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Second {
    /// The operations that ended in it.
    pub ended: u64,
    /// The 99th percentile of the latency of the commands that ended in it, from the intended
    /// start, in milliseconds. `None` if there was none.
    pub p99: Option<f64>,
}

impl Recent {
    /// Closes the seconds that ended before or at a time.
    pub fn advance(&mut self, time: Duration) {
        let oldest = time.as_secs().saturating_sub(SECONDS as u64);
        if self.index < oldest {
            *self = Self { index: oldest, ..Self::default() };
        }
        while self.index < time.as_secs() {
            self.closed.push_back(Second { ended: self.ended, p99: self.latency.quantile(0.99) });
            if self.closed.len() > SECONDS {
                self.closed.pop_front();
            }
            self.index += 1;
            self.ended = 0;
            self.latency.clear();
        }
    }

    /// Counts an operation that has ended.
    pub fn ended(&mut self, ended: &Ended) {
        self.ended += 1;
        if ended.group != Group::Queries {
            self.latency.add(ended.ended.saturating_duration_since(ended.intended));
        }
    }

    /// Returns the last complete seconds, the newest one last.
    pub fn seconds(&self) -> Vec<Second> {
        self.closed.iter().copied().collect()
    }
}

/// The number of seconds that are kept.
const SECONDS: usize = 30;

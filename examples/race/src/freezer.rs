//! Stops worker processes for a while, as a debugger or a paused machine does.

use std::time::{Duration, Instant};

use rand::RngExt;

use crate::workers::Workers;

/// A control that stops random workers, one at a time, if there are several.
pub struct Freezer {
    workers: usize,
    frozen: Option<usize>,
    next: Instant,
    count: u64,
}

impl Freezer {
    pub fn new(workers: usize) -> Self {
        Self { workers, frozen: None, next: Instant::now() + BETWEEN / 2, count: 0 }
    }

    /// Stops a worker or resumes the stopped one, if it is time to.
    pub fn tick(&mut self, workers: &Workers) {
        if self.workers < 2 || Instant::now() < self.next {
            return;
        }
        if self.frozen.is_some() {
            self.thaw(workers);
            self.next = Instant::now() + BETWEEN;
            return;
        }
        let worker = rand::rng().random_range(0..self.workers);
        if workers.freeze(worker) {
            self.frozen = Some(worker);
            self.count += 1;
        }
        let longest = LONGEST.as_millis() as u64;
        self.next = Instant::now() + Duration::from_millis(rand::rng().random_range(50..longest));
    }

    /// Resumes the stopped worker.
    pub fn thaw(&mut self, workers: &Workers) {
        if let Some(worker) = self.frozen.take() {
            workers.thaw(worker);
        }
    }

    /// Returns how many times a worker was stopped.
    pub fn count(&self) -> u64 {
        self.count
    }
}

const BETWEEN: Duration = Duration::from_secs(1);
/// The longest time for which a worker is stopped. It exceeds the time for which the server lets a
/// transaction be idle that decides under the log's lock.
const LONGEST: Duration = Duration::from_millis(3_000);

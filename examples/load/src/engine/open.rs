use std::thread;
use std::time::{Duration, Instant};

use tokio::{task, time};

use super::queue::Step;
use super::workers::Workers;
use super::{Ending, Engine, Executor, STOP_INTERVAL};
use crate::plan::Planned;
use crate::{LoadError, clock};

impl<C: Executor> Engine<C> {
    /// Runs an open loop: begins each intention at its time after the start, or as soon after that
    /// as a client is free. The times must be in order.
    ///
    /// After a request to end early, no more intentions become due. Those that are due by then are
    /// still carried out.
    ///
    /// # Errors
    ///
    /// If a client panics.
    pub async fn open(
        &self,
        arrivals: impl Iterator<Item = Planned> + Send,
        start: Instant,
    ) -> Result<Ending, LoadError> {
        let mut workers = Workers::start(self);
        let mut due = 0;
        for Planned { at, intention } in arrivals {
            let intended = start + at;
            self.wait_until(intended, &mut workers).await?;
            // Lets the clients run even if all arrivals are behind time.
            task::consume_budget().await;
            if self.stop.is_set() {
                break;
            }
            let operations = intention.crowd.operations();
            self.tally.due(intended, operations);
            due += operations;
            workers.queue.add(Step { intention, intended: Some(intended) });
        }
        let not_begun = workers.finish(time::Instant::now() + self.drain).await?;
        let took = clock::now().saturating_duration_since(start);
        Ok(Ending { due, not_begun, is_stopped: self.stop.is_set(), took })
    }

    /// Waits until a time, or until a request to end early.
    async fn wait_until(&self, end: Instant, workers: &mut Workers) -> Result<(), LoadError> {
        loop {
            workers.check()?;
            let now = clock::now();
            if now >= end || self.stop.is_set() {
                return Ok(());
            }
            let left = (end - now).min(STOP_INTERVAL);
            if !self.is_exact {
                time::sleep(left).await;
            } else if left > TIMER_ERROR {
                time::sleep(left - TIMER_ERROR).await;
            } else {
                let left = left.max(SHORTEST_WAIT);
                let slept = task::spawn_blocking(move || thread::sleep(left)).await;
                slept.map_err(LoadError::Client)?;
            }
        }
    }
}

/// How late the timer of tokio may fire: it counts milliseconds, and waits for whole ones.
const TIMER_ERROR: Duration = Duration::from_millis(2);
/// The shortest wait. It limits the CPU time that waiting takes at a high rate.
const SHORTEST_WAIT: Duration = Duration::from_micros(300);

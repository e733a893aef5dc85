use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::queue::Step;
use super::workers::Workers;
use super::{Ending, Engine, Executor, STOP_INTERVAL};
use crate::LoadError;
use crate::plan::{Intention, LONGEST_LOAD};

impl<C: Executor> Engine<C> {
    /// Runs a closed loop: each client begins an intention as soon as its last one has ended. An
    /// intention is due when it begins, so that none is ever late.
    ///
    /// # Errors
    ///
    /// If a client panics.
    pub async fn closed(
        &self,
        mut intentions: impl Iterator<Item = Intention> + Send,
        duration: Duration,
    ) -> Result<Ending, LoadError> {
        let mut workers = Workers::start(self);
        let start = Instant::now();
        let end = start + duration.min(LONGEST_LOAD);
        let mut room = AHEAD_PER_CLIENT * self.clients.max(1);
        let mut added = 0;
        while self.wait_for_room(&mut room, end, &mut workers).await? {
            let Some(intention) = intentions.next() else { break };
            added += intention.crowd.operations();
            workers.queue.add(Step { intention, intended: None });
        }
        let is_stopped = self.stop.is_set();
        let discarded = workers.finish(if is_stopped { Instant::now() } else { end }).await?;
        Ok(Ending { due: added - discarded, not_begun: 0, is_stopped, took: start.elapsed() })
    }

    /// Waits until the queue has room for a step, and uses it. Returns `false` at the end of the
    /// load.
    async fn wait_for_room(
        &self,
        room: &mut u32,
        end: Instant,
        workers: &mut Workers,
    ) -> Result<bool, LoadError> {
        loop {
            workers.check()?;
            let now = Instant::now();
            if now >= end || self.stop.is_set() {
                return Ok(false);
            }
            if *room > 0 {
                *room -= 1;
                return Ok(true);
            }
            let next_look = end.min(now + STOP_INTERVAL);
            // To be awakened for each step would take about as much CPU time as a short operation.
            let taken = AHEAD_PER_CLIENT / 2 * self.clients.max(1);
            if timeout_at(next_look, workers.queue.taken(taken)).await.is_ok() {
                *room += taken;
            }
        }
    }
}

/// The number of intentions for each client that are looked at before they begin; at times only
/// half of them are. It must be large enough for the clients to find work if many steps of one
/// visit follow each other.
const AHEAD_PER_CLIENT: u32 = 32;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::Appender;
use super::worker::Worker;

/// The right of one worker to take requests from the queue.
pub(super) struct QueueClaim {
    appender: Arc<Appender>,
    is_held: bool,
}

impl QueueClaim {
    /// Creates the claim of a worker that is about to start. The queue must be marked as served.
    pub(super) fn new(appender: Arc<Appender>) -> Self {
        Self { appender, is_held: true }
    }

    pub(super) fn is_held(&self) -> bool {
        self.is_held
    }

    /// Releases the claim if the queue is empty. Calls `prepare` before the next worker can start.
    pub(super) fn release_if_empty(&mut self, prepare: impl FnOnce()) -> bool {
        let mut queue = self.appender.queue();
        if queue.len() > 0 {
            return false;
        }
        prepare();
        self.is_held = false;
        queue.is_served = false;
        true
    }

    /// Awaits a step of a batch that began at `began`. Releases the claim as soon as the batch has
    /// taken [`MAX_BATCH_TIME`], and still awaits the step.
    pub(super) async fn release_if_slow<T>(
        &mut self,
        began: Instant,
        step: impl Future<Output = T>,
    ) -> T {
        let mut step = pin!(step);
        if self.is_held {
            if let Ok(output) = timeout_at(began + MAX_BATCH_TIME, &mut step).await {
                return output;
            }
            self.release();
        }
        step.await
    }

    /// Releases the claim. Starts another worker if requests wait, so that a slow connection does
    /// not delay them.
    pub(super) fn release(&mut self) {
        self.is_held = false;
        let mut queue = self.appender.queue();
        let is_served = queue.len() > 0;
        queue.is_served = is_served;
        // A runtime that is shut down drops the new worker at once, which locks the queue.
        drop(queue);
        if is_served {
            Worker::start(self.appender.clone());
        }
    }
}

impl Drop for QueueClaim {
    /// Fails the requests that wait with a transient error, if the worker still has the claim: then
    /// its runtime was shut down, or it panicked. Their callers may run in another runtime. The
    /// next append starts another worker.
    fn drop(&mut self) {
        if !self.is_held {
            return;
        }
        let mut queue = self.appender.queue();
        queue.is_served = false;
        let waiting = queue.take_all();
        drop(queue);
        let server = self.appender.pool.server();
        for pending in waiting {
            pending.reply(server, Err(server.lost("the append task ended before it replied")));
        }
    }
}

/// The time after which a batch is slow, so that another worker serves the queue.
pub(super) const MAX_BATCH_TIME: Duration = Duration::from_secs(1);

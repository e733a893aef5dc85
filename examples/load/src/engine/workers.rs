use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::queue::{Queue, Step};
use super::{Engine, Executor};
use crate::{LoadError, clock};

/// The tasks of the clients. They are aborted when this is dropped.
pub struct Workers {
    /// The queue from which they take steps.
    pub queue: Arc<Queue>,
    tasks: JoinSet<()>,
}

impl Workers {
    /// Starts the clients of an engine.
    pub fn start<C: Executor>(engine: &Engine<C>) -> Self {
        let queue = Arc::new(Queue::new());
        let mut tasks = JoinSet::new();
        for _ in 0..engine.clients.max(1) {
            tasks.spawn(work(engine.clone(), queue.clone()));
        }
        Self { queue, tasks }
    }

    /// Checks that no client has failed.
    ///
    /// # Errors
    ///
    /// The failure of a client.
    pub fn check(&mut self) -> Result<(), LoadError> {
        match self.tasks.try_join_next() {
            Some(Err(error)) => Err(LoadError::Client(error)),
            Some(Ok(())) | None => Ok(()),
        }
    }

    /// Closes the queue and waits until all clients have ended. Removes the steps that have not
    /// begun at the deadline, and returns the number of their operations.
    ///
    /// # Errors
    ///
    /// The failure of a client.
    pub async fn finish(mut self, deadline: Instant) -> Result<u64, LoadError> {
        self.queue.close();
        let not_begun = match tokio::time::timeout_at(deadline, join(&mut self.tasks)).await {
            Ok(ended) => {
                ended?;
                0
            }
            Err(_) => self.queue.discard(),
        };
        join(&mut self.tasks).await?;
        Ok(not_begun)
    }
}

async fn join(tasks: &mut JoinSet<()>) -> Result<(), LoadError> {
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(LoadError::Client)?;
    }
    Ok(())
}

/// Carries out steps until there are no more.
async fn work<C: Executor>(engine: Engine<C>, queue: Arc<Queue>) {
    while let Some(first) = queue.take().await {
        let mut next = Some(first);
        while let Some(Step { intention, intended }) = next {
            let intended = intended.unwrap_or_else(|| {
                let now = clock::now();
                engine.tally.due(now, intention.crowd.operations());
                now
            });
            engine.executor.execute(intention, intended).await;
            next = queue.take_next(intention.visit);
        }
    }
}

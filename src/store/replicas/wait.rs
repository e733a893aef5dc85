use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::waiters::{LoneRead, Waiters, WaitingRead};
use crate::SequenceNumber;

/// How a read waits for a server that has reached its position.
///
/// A read that waits alone first asks the servers itself, one after the other. That is quicker than
/// to have their watchers ask and then to read, and no more work for the servers. After a moment,
/// or if another read waits as well, the watchers ask for all.
pub(super) struct Wait {
    position: SequenceNumber,
    alone_until: Instant,
    stage: WaitStage,
}

enum WaitStage {
    Begun,
    Alone(LoneRead),
    Waiting(WaitingRead),
    Woken,
}

impl Wait {
    /// Begins a wait that lasts until `limit` at most.
    pub(super) fn new(position: SequenceNumber, limit: Instant) -> Self {
        let alone_until = limit.min(Instant::now() + LONGEST_ALONE);
        Self { position, alone_until, stage: WaitStage::Begun }
    }

    /// Returns whether the read asks a server now, although none is known to have reached the
    /// position. At least one attempt is allowed, if the read is alone.
    pub(super) fn asks_alone(&mut self, waiters: &Arc<Waiters>) -> bool {
        match &self.stage {
            WaitStage::Begun => {
                let alone = waiters.begin_alone();
                self.stage = alone.map_or(WaitStage::Woken, WaitStage::Alone);
            }
            WaitStage::Alone(alone) if alone.is_alone() && Instant::now() < self.alone_until => {}
            WaitStage::Alone(_) => self.stage = WaitStage::Woken,
            WaitStage::Waiting(_) | WaitStage::Woken => {}
        }
        matches!(self.stage, WaitStage::Alone(_))
    }

    /// Adds the read to those that wait. Returns whether it was not among them.
    pub(super) fn start(&mut self, waiters: &Arc<Waiters>) -> bool {
        let is_new = !matches!(self.stage, WaitStage::Waiting(_));
        if is_new {
            self.stage = WaitStage::Waiting(waiters.add(self.position));
        }
        is_new
    }

    /// Waits until a server has reached the position. If the future is dropped, the wait goes on.
    pub(super) async fn reached(&mut self) {
        if let WaitStage::Waiting(waiting) = &mut self.stage {
            waiting.reached().await;
            self.stage = WaitStage::Woken;
        }
    }
}

/// A replica that is not behind usually replays an append in less time.
const LONGEST_ALONE: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn wait(limit: Duration) -> Wait {
        Wait::new(SequenceNumber::new(7), Instant::now() + limit)
    }

    #[test]
    fn one_read_asks_alone_until_another_one_waits() {
        let waiters = Arc::default();
        let (mut one, mut other) = (wait(LONG), wait(LONG));

        assert!(one.asks_alone(&waiters) && !other.asks_alone(&waiters));
        assert!(other.start(&waiters));

        assert!(!one.asks_alone(&waiters) && one.start(&waiters));
        assert!(!one.start(&waiters) && !one.asks_alone(&waiters));
    }

    #[test]
    fn a_read_without_time_asks_once() {
        let waiters = Arc::default();
        let mut wait = wait(Duration::ZERO);

        assert!(wait.asks_alone(&waiters));
        assert!(!wait.asks_alone(&waiters));
    }
}

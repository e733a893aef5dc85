//! Rate limits and freezes, which apply in addition to the faults.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::Direction;

/// The freeze and the rate limits of a proxy or of one of its connections.
#[derive(Debug, Default)]
pub(crate) struct Controls {
    is_frozen: watch::Sender<bool>,
    /// The limit in bytes per second and connection, if any.
    to_client: watch::Sender<Option<u64>>,
    to_server: watch::Sender<Option<u64>>,
}

impl Controls {
    pub(crate) fn freeze(&self, is_frozen: bool) {
        self.is_frozen.send_replace(is_frozen);
    }

    /// Waits until connections are frozen or not, as `is_frozen` says.
    pub(crate) async fn frozen(&self, is_frozen: bool) {
        // This cannot fail, since `self` owns the sender.
        let _ = self.is_frozen.subscribe().wait_for(|now| *now == is_frozen).await;
    }

    pub(crate) fn set_pace(&self, direction: Direction, pace: Option<u64>) {
        self.pace(direction).send_replace(pace);
    }

    fn pace(&self, direction: Direction) -> &watch::Sender<Option<u64>> {
        match direction {
            Direction::ToClient => &self.to_client,
            Direction::ToServer => &self.to_server,
        }
    }
}

/// The rate limiter of one direction of a connection.
#[derive(Debug)]
pub(crate) struct Pace {
    /// When the next bytes may pass.
    free_at: Instant,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self { free_at: Instant::now() }
    }

    /// Waits until a byte may pass. Returns how many bytes may pass, at most `limit`.
    pub(crate) async fn wait(
        &mut self,
        controls: &Controls,
        direction: Direction,
        limit: usize,
    ) -> usize {
        let mut changes = controls.pace(direction).subscribe();
        loop {
            let Some(pace) = *changes.borrow_and_update() else { return limit };
            let now = Instant::now();
            if self.free_at <= now {
                let share = usize::try_from(pace / SLICES_PER_SECOND).unwrap_or(usize::MAX);
                return limit.min(share.max(1));
            }
            tokio::select! {
                () = sleep_until(self.free_at) => {}
                _ = changes.changed() => self.free_at = now,
            }
        }
    }

    /// Records that bytes have passed.
    pub(crate) fn passed(&mut self, controls: &Controls, direction: Direction, bytes: usize) {
        if let Some(pace) = *controls.pace(direction).borrow() {
            let time = Duration::from_secs_f64(bytes as f64 / pace.max(1) as f64);
            self.free_at = self.free_at.max(Instant::now()) + time;
        }
    }
}

/// The number of slices into which the bytes of a second are divided.
const SLICES_PER_SECOND: u64 = 100;

//! What slows all bytes down or holds them back, whatever the faults say.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::Direction;

/// Switches for a proxy, or for one of its connections.
#[derive(Debug, Default)]
pub(crate) struct Switches {
    is_frozen: watch::Sender<bool>,
    /// Bytes per second and connection, if there is a limit.
    to_client: watch::Sender<Option<u64>>,
    to_server: watch::Sender<Option<u64>>,
}

impl Switches {
    pub(crate) fn freeze(&self, is_frozen: bool) {
        self.is_frozen.send_replace(is_frozen);
    }

    /// Waits until connections are frozen, or no longer.
    pub(crate) async fn frozen(&self, is_frozen: bool) {
        // It cannot fail: the sender is here.
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

/// When the bytes of one direction of a connection may pass.
#[derive(Debug)]
pub(crate) struct Pace {
    /// When the bytes that have passed are due to have arrived.
    free_at: Instant,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self { free_at: Instant::now() }
    }

    /// Waits until a byte may pass; returns how many may, of so many.
    pub(crate) async fn turn(
        &mut self,
        switches: &Switches,
        direction: Direction,
        room: usize,
    ) -> usize {
        let mut changes = switches.pace(direction).subscribe();
        loop {
            let Some(pace) = *changes.borrow_and_update() else { return room };
            let now = Instant::now();
            if self.free_at <= now {
                let share = usize::try_from(pace / TURNS_A_SECOND).unwrap_or(usize::MAX);
                return room.min(share.max(1));
            }
            tokio::select! {
                () = sleep_until(self.free_at) => {}
                _ = changes.changed() => self.free_at = now,
            }
        }
    }

    /// Takes note that bytes have passed.
    pub(crate) fn passed(&mut self, switches: &Switches, direction: Direction, bytes: usize) {
        if let Some(pace) = *switches.pace(direction).borrow() {
            let time = Duration::from_secs_f64(bytes as f64 / pace.max(1) as f64);
            self.free_at = self.free_at.max(Instant::now()) + time;
        }
    }
}

/// Into how many turns the bytes of a second are divided.
const TURNS_A_SECOND: u64 = 100;

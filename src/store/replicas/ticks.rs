use std::time::Duration;

use tokio::time::Instant;

/// The pauses between the observations of a server while reads wait for a position.
///
/// They are short at first and whenever the server has replayed something, and grow while it
/// replays nothing, by an eighth each: so a read waits at most an eighth longer than it has to.
pub(super) struct Ticks {
    pause: Duration,
    has_moved: bool,
}

impl Ticks {
    /// The shortest pause.
    pub(super) const SHORTEST: Duration = Duration::from_micros(200);

    pub(super) fn new() -> Self {
        Self { pause: Self::SHORTEST, has_moved: true }
    }

    /// Begins anew, because the server has replayed something, or because no read waits.
    pub(super) fn restart(&mut self) {
        *self = Self::new();
    }

    /// Begins anew for a read that arrives. If the server has replayed nothing since another one
    /// arrived, the new one changes nothing: so it costs nothing.
    pub(super) fn arrive(&mut self) {
        if std::mem::take(&mut self.has_moved) {
            self.pause = Self::SHORTEST;
        }
    }

    /// Returns the pause after the last observation.
    pub(super) fn pause(&self) -> Duration {
        self.pause
    }

    /// Makes the next pause longer.
    pub(super) fn grow(&mut self) {
        self.pause = LONGEST.min(self.pause + self.pause / 8);
    }
}

/// Sleeps until a time that may be nearer than the resolution of tokio's timer, one millisecond.
pub(super) async fn sleep_until(time: Instant) {
    let pause = time.saturating_duration_since(Instant::now());
    if pause < SHORTEST_SLEEP {
        return;
    }
    if pause > LONGEST {
        return tokio::time::sleep_until(time).await;
    }
    // The task fails only if the runtime ends.
    let _ = tokio::task::spawn_blocking(move || std::thread::sleep(pause)).await;
}

const LONGEST: Duration = Duration::from_millis(5);
/// A shorter sleep would take longer than that, for the thread has to be woken.
const SHORTEST_SLEEP: Duration = Duration::from_micros(50);

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(ticks: &mut Ticks, count: usize) -> Vec<Duration> {
        let mut next = || {
            let pause = ticks.pause();
            ticks.grow();
            pause
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn pauses_grow_to_the_longest_until_the_server_moves() {
        let mut ticks = Ticks::new();

        let growing = pauses(&mut ticks, 40);
        ticks.restart();

        assert_eq!((growing[0], growing[39]), (Ticks::SHORTEST, LONGEST));
        assert!(growing.is_sorted());
        assert_eq!(ticks.pause(), Ticks::SHORTEST);
    }

    #[test]
    fn a_thousand_reads_that_arrive_shorten_the_pauses_once() {
        let mut ticks = Ticks::new();
        ticks.arrive();
        pauses(&mut ticks, 40);

        for _ in 0..1_000 {
            ticks.arrive();
            assert_eq!(ticks.pause(), LONGEST);
        }

        ticks.restart();
        pauses(&mut ticks, 40);
        ticks.arrive();
        assert_eq!(ticks.pause(), Ticks::SHORTEST);
    }
}

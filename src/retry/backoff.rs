use std::iter::FusedIterator;
use std::time::Duration;

use fastrand::Rng;

/// Says how a pause is spread, so that callers which failed together do not come back together.
///
/// The names and the advice are of "Exponential Backoff And Jitter" in the AWS Architecture Blog:
/// of these, full jitter let contending clients finish with the least work.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Jitter {
    /// Anything between half of the pause and the pause.
    Equal,
    /// Anything between nothing and the pause.
    Full,
    /// Not at all.
    None,
}

/// Yields the pauses between the attempts of a call: each longer than the last by a factor, up to
/// a cap, and spread by [`Jitter`]. Ends one pause before the attempts do.
///
/// It comes from [`RetryPolicy::backoff`](super::RetryPolicy::backoff).
///
/// ```
/// use std::time::Duration;
/// use eddyline::retry::Jitter;
/// use eddyline::RetryPolicy;
///
/// let policy = RetryPolicy::builder().attempts(9).jitter(Jitter::None).build()?;
/// let pauses: Vec<_> = policy.backoff().map(|pause| pause.as_millis()).collect();
///
/// assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1000]);
/// # Ok::<(), eddyline::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Backoff {
    left: u32,
    /// The next pause without jitter, in seconds; finite, and never above the cap.
    next: f64,
    multiplier: f64,
    cap: Duration,
    jitter: Jitter,
    rng: Option<Rng>,
}

impl Backoff {
    /// Begins at the base, which is at most the cap; the multiplier is finite and at least 1.
    pub(super) fn new(
        pauses: u32,
        base: Duration,
        multiplier: f64,
        cap: Duration,
        jitter: Jitter,
    ) -> Self {
        Self { left: pauses, next: base.as_secs_f64(), multiplier, cap, jitter, rng: None }
    }

    /// Draws the jitter from this seed, so that the pauses are the same each time. Without a seed
    /// they differ between calls, threads and processes.
    pub fn seed(self, seed: u64) -> Self {
        Self { rng: Some(Rng::with_seed(seed)), ..self }
    }

    pub(super) fn cap(&self) -> Duration {
        self.cap
    }

    /// Goes on without end, with pauses of between half of the cap and the cap.
    pub(super) fn at_cap(self) -> Self {
        Self { left: u32::MAX, next: self.cap.as_secs_f64(), jitter: Jitter::Equal, ..self }
    }

    fn spread(&mut self, pause: Duration) -> Duration {
        let longest = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
        let varied = match self.jitter {
            Jitter::Equal => longest / 2,
            Jitter::Full => longest,
            Jitter::None => return pause,
        };
        let rng = self.rng.get_or_insert_with(Rng::new);
        Duration::from_nanos(longest - varied + rng.u64(0..=varied))
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        // Seconds as a float round to beyond what a `Duration` holds only near its maximum.
        let pause = Duration::try_from_secs_f64(self.next).unwrap_or(self.cap).min(self.cap);
        self.next = (self.next * self.multiplier).min(self.cap.as_secs_f64());
        Some(self.spread(pause))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.left);
        (left.unwrap_or(usize::MAX), left.ok())
    }
}

impl ExactSizeIterator for Backoff {}

impl FusedIterator for Backoff {}

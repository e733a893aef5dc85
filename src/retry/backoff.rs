use std::iter::FusedIterator;
use std::time::Duration;

use fastrand::Rng;

/// The randomization of pauses, so that callers that failed together do not retry together.
///
/// The names and the advice are those of "Exponential Backoff And Jitter" in the AWS Architecture
/// Blog. Full jitter let contending clients finish with the least work there.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Jitter {
    /// Between half of the pause and the pause.
    Equal,
    /// Between zero and the pause.
    Full,
    /// No randomization.
    None,
}

/// An iterator over the pauses between the attempts of a call.
///
/// Each pause is the previous one times a factor, up to a cap, with [`Jitter`]. There is one pause
/// fewer than attempts. [`RetryPolicy::backoff`](super::RetryPolicy::backoff) returns it.
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
    /// The next pause without jitter, in seconds. It is finite and never above the cap.
    next: f64,
    multiplier: f64,
    cap: Duration,
    jitter: Jitter,
    rng: Option<Rng>,
}

impl Backoff {
    /// Starts at the base, which is at most the cap. The multiplier is finite and at least 1.
    pub(super) fn new(
        pauses: u32,
        base: Duration,
        multiplier: f64,
        cap: Duration,
        jitter: Jitter,
    ) -> Self {
        Self { left: pauses, next: base.as_secs_f64(), multiplier, cap, jitter, rng: None }
    }

    /// Draws the jitter from this seed, so that the pauses are reproducible. Without a seed they
    /// differ between calls, threads and processes.
    pub fn seed(self, seed: u64) -> Self {
        Self { rng: Some(Rng::with_seed(seed)), ..self }
    }

    pub(super) fn cap(&self) -> Duration {
        self.cap
    }

    /// Continues without end, with pauses between half of the cap and the cap.
    pub(super) fn at_cap(self) -> Self {
        Self { left: u32::MAX, next: self.cap.as_secs_f64(), jitter: Jitter::Equal, ..self }
    }

    fn randomize(&mut self, pause: Duration) -> Duration {
        let longest = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
        let range = match self.jitter {
            Jitter::Equal => longest / 2,
            Jitter::Full => longest,
            Jitter::None => return pause,
        };
        let rng = self.rng.get_or_insert_with(Rng::new);
        Duration::from_nanos(longest - range + rng.u64(0..=range))
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        // Near the maximum of `Duration`, the float may round to a value above it.
        let pause = Duration::try_from_secs_f64(self.next).unwrap_or(self.cap).min(self.cap);
        self.next = (self.next * self.multiplier).min(self.cap.as_secs_f64());
        Some(self.randomize(pause))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.left);
        (left.unwrap_or(usize::MAX), left.ok())
    }
}

impl ExactSizeIterator for Backoff {}

impl FusedIterator for Backoff {}

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Distribution, Exp1};

use super::curve::Curve;
use super::schedule::Arrivals;

/// The times of a schedule, since the start of the load.
#[derive(Debug)]
pub struct ArrivalTimes {
    curve: Curve,
    duration: Duration,
    /// The integral of the rate at the next time.
    next: f64,
    gaps: Gaps,
    last: f64,
    /// The number of times that are left, for even arrivals.
    left: u64,
}

/// The gaps between arrivals in the integral of the rate.
#[derive(Debug)]
enum Gaps {
    Even,
    Poisson(Box<StdRng>),
}

impl ArrivalTimes {
    /// Creates the times for a curve.
    pub fn new(curve: Curve, duration: Duration, arrivals: Arrivals, seed: u64) -> Self {
        let (gaps, next, left) = match arrivals {
            // The integral has rounding errors, which must not add an arrival.
            Arrivals::Even => (Gaps::Even, 0.0, (curve.total() * (1.0 - 1e-12)).ceil() as u64),
            Arrivals::Poisson => {
                let mut rng = Box::new(StdRng::seed_from_u64(seed));
                let next = Exp1.sample(&mut rng);
                (Gaps::Poisson(rng), next, u64::MAX)
            }
        };
        Self { curve, duration, next, gaps, last: 0.0, left }
    }
}

impl Iterator for ArrivalTimes {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if self.left == 0 || self.next >= self.curve.total() {
            return None;
        }
        self.left -= 1;
        self.last = self.curve.time_of(self.next, self.last).max(self.last);
        self.next += match &mut self.gaps {
            Gaps::Even => 1.0,
            Gaps::Poisson(rng) => Exp1.sample(rng),
        };
        let last = self.duration.saturating_sub(Duration::from_nanos(1)).as_micros() as u64;
        Some(Duration::from_micros(last.min((self.last * 1e6) as u64)))
    }
}

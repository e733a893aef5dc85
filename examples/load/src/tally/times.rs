use std::time::Duration;

use hdrhistogram::Histogram;

use super::Distribution;

/// A collection of times, kept as counts in buckets whose width is a thousandth of the time.
#[derive(Clone)]
pub struct Times(Histogram<u64>);

impl Times {
    /// Adds a time. A time beyond the longest one counts as the longest one.
    pub fn add(&mut self, time: Duration) {
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(microseconds);
    }

    /// Adds all times of another collection.
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all histograms have the same bounds");
    }

    /// Removes all times.
    pub fn clear(&mut self) {
        if !self.0.is_empty() {
            self.0.reset();
        }
    }

    /// Returns the time in milliseconds that this share of the times did not exceed, or `None` if
    /// there are no times.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        (!self.0.is_empty()).then(|| milliseconds(self.0.value_at_quantile(share)))
    }

    /// Returns the distribution without its curve.
    pub fn figures(&self) -> Distribution {
        if self.0.is_empty() {
            return Distribution::default();
        }
        let quantile = |share| self.quantile(share).unwrap_or_default();
        Distribution {
            count: self.0.len(),
            mean: self.0.mean() / MICROSECONDS,
            p50: quantile(0.5),
            p95: quantile(0.95),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: quantile(1.0),
            curve: Vec::new(),
        }
    }

    /// Returns the distribution with its curve.
    pub fn distribution(&self) -> Distribution {
        let points = self.0.iter_quantiles(POINTS_PER_HALVING);
        let curve = points
            .map(|point| (point.quantile_iterated_to(), milliseconds(point.value_iterated_to())));
        Distribution { curve: curve.collect(), ..self.figures() }
    }
}

impl Default for Times {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST.as_micros() as u64, DIGITS);
        Self(histogram.expect("the bounds are valid"))
    }
}

fn milliseconds(microseconds: u64) -> f64 {
    microseconds as f64 / MICROSECONDS
}

/// The longest time that is told from longer ones.
const LONGEST: Duration = Duration::from_secs(600);
/// The significant decimal digits of a time.
const DIGITS: u8 = 3;
/// The microseconds in a millisecond.
const MICROSECONDS: f64 = 1_000.0;
/// The points of a curve between each share and the middle between that share and 1. A million
/// times give 20 halvings.
const POINTS_PER_HALVING: u32 = 5;

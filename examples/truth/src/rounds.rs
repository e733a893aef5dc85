//! A comparison that is made in several rounds, so that a moment in which the machine stands still
//! does not decide it.

use std::time::Duration;

use crate::comparison::percent;

/// A measured time and what it is compared with, in one round.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// The least and the greatest independent value, in seconds.
    pub independent: (f64, f64),
    /// The exported value, in seconds.
    pub exported: f64,
}

impl Round {
    /// Compares with one value.
    pub fn new(independent: f64, exported: f64) -> Self {
        Self { independent: (independent, independent), exported }
    }

    /// Returns how far the exported value is from the independent ones, in per cent. It is no number
    /// if nothing was measured in the round.
    pub fn error(&self) -> f64 {
        let (least, greatest) = self.independent;
        if least.is_nan() || greatest.is_nan() {
            return f64::NAN;
        }
        percent(self.exported.clamp(least, greatest), self.exported)
    }
}

/// Returns in how many rounds a step of a length is made.
pub fn rounds_in(length: Duration, most: u32) -> u32 {
    let rounds = length.as_millis() / SHORTEST.as_millis();
    u32::try_from(rounds).map_or(most, |rounds| rounds.clamp(FEWEST, most))
}

/// Returns the median and its standard error. The error is estimated from the median of the
/// distances to the median, so that a few extreme values do not matter to it either.
pub fn median(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    let values: Vec<_> = values.into_iter().collect();
    let middle = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
        f64::midpoint(values[low], values[high])
    };
    let median = middle(values.clone());
    let distance = middle(values.iter().map(|value| (value - median).abs()).collect());
    // Of a normal distribution, 1.483 distances are a standard deviation, and the error of the median
    // is 1.253 times that of the mean.
    (median, 1.483 * 1.253 * distance / (values.len() as f64).sqrt())
}

/// In a shorter round, the start of the clients matters.
const SHORTEST: Duration = Duration::from_millis(400);
const FEWEST: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_median_grows_with_the_spread_of_most_values() {
        let steady = median([1.0, 1.01, 0.99, 1.0, 30.0]);
        let spread = median([1.0, 1.2, 0.8, 1.1, 0.9]);

        assert_eq!((steady.0, spread.0), (1.0, 1.0));
        assert!(steady.1 < 0.01 && spread.1 > 0.08, "{} and {}", steady.1, spread.1);
        assert_eq!(median([2.0, 2.0, 2.0]), (2.0, 0.0));
    }

    #[test]
    fn a_long_step_has_more_rounds() {
        let rounds = [1, 2, 4, 8, 3_600].map(|seconds| rounds_in(Duration::from_secs(seconds), 10));

        assert_eq!(rounds, [3, 5, 10, 10, 10]);
    }

    #[test]
    fn only_values_outside_of_the_range_are_wrong() {
        let round = |exported| Round { independent: (2.0, 4.0), exported };

        assert_eq!([2.0, 3.0, 4.0].map(|exported| round(exported).error()), [0.0; 3]);
        assert_eq!([1.0, 5.0].map(|exported| round(exported).error()), [-50.0, 25.0]);
        assert!(round(f64::NAN).error().is_nan());
        assert!(Round::new(f64::NAN, 1.0).error().is_nan());
    }
}

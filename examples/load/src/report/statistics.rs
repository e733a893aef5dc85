//! Means of values that depend on their predecessors, and confidence intervals of their difference.

/// The mean of a series of values, of which each may depend on those before it.
///
/// The variance of the mean follows from the integrated autocorrelation time, estimated by the
/// initial monotone sequence of Geyer (1992), "Practical Markov Chain Monte Carlo", Statistical
/// Science 7(4), section 3.3. Autocovariances around the mean of a short series are too small by
/// about the variance of that mean, which is therefore estimated once without and once with this
/// correction. The load generator latte (<https://github.com/pkolaczk/latte>) compares runs in the
/// same way, by Welch's t-test with effective sample sizes, but estimates these by batch means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    /// The mean.
    pub value: f64,
    /// The variance of the mean.
    pub variance: f64,
    /// The number of independent values whose mean would have this variance.
    pub effective: f64,
}

/// An interval that contains the true value with a probability of 95 %.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The lower bound.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
}

impl Mean {
    /// Returns the mean of a series. `None` if it has fewer than four values.
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.len() < 4 {
            return None;
        }
        let count = values.len() as f64;
        let value = values.iter().sum::<f64>() / count;
        let deviations: Vec<f64> = values.iter().map(|one| one - value).collect();
        let spread = autocovariance(&deviations, 0);
        // Values that are equal but for rounding have an autocorrelation that means nothing.
        if spread.sqrt() <= 1e-12 * value.abs() {
            return Some(Self { value, variance: 0.0, effective: count });
        }
        let biased = autocorrelation_time(&deviations, 0.0);
        let correction = spread * (biased / count).min(MAX_CORRECTION);
        let time = autocorrelation_time(&deviations, correction).min(count);
        Some(Self {
            value,
            variance: (spread + correction) * time / count,
            effective: count / time,
        })
    }

    /// Returns the interval of the true mean.
    pub fn interval(&self) -> Interval {
        Interval::around(self.value, self.variance, self.effective - 1.0)
    }

    /// Returns the interval of the difference of this mean to another one, by Welch's method.
    pub fn minus(&self, other: &Self) -> Interval {
        let variance = self.variance + other.variance;
        let part = |mean: &Self| mean.variance.powi(2) / (mean.effective - 1.0).max(1.0);
        let parts = part(self) + part(other);
        let degrees = if parts > 0.0 { variance.powi(2) / parts } else { f64::INFINITY };
        Interval::around(self.value - other.value, variance, degrees)
    }
}

impl Interval {
    fn around(value: f64, variance: f64, degrees: f64) -> Self {
        let half = t_quantile(degrees) * variance.sqrt();
        Self { low: value - half, high: value + half }
    }
}

/// Returns the median. `None` if there is no value.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length.is_multiple_of(2) => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
        _ => Some(sorted[middle]),
    }
}

/// Returns the factor by which dependence multiplies the variance of the mean, at least 1.
///
/// `correction` is added to each autocovariance.
fn autocorrelation_time(deviations: &[f64], correction: f64) -> f64 {
    let spread = autocovariance(deviations, 0) + correction;
    let mut time = -1.0;
    let mut last = f64::INFINITY;
    for lag in (0..deviations.len() / 2).step_by(2) {
        let pair = autocovariance(deviations, lag) + autocovariance(deviations, lag + 1);
        let pair = ((pair + 2.0 * correction) / spread).min(last);
        if pair <= 0.0 {
            break;
        }
        time += 2.0 * pair;
        last = pair;
    }
    time.max(1.0)
}

fn autocovariance(deviations: &[f64], lag: usize) -> f64 {
    let products = deviations.iter().zip(&deviations[lag..]).map(|(one, later)| one * later);
    products.sum::<f64>() / deviations.len() as f64
}

/// Returns the 97.5 % quantile of Student's t distribution with at least two degrees of freedom.
///
/// G. W. Hill (1970), "Algorithm 396: Student's t-quantiles", Communications of the ACM 13(10).
fn t_quantile(degrees: f64) -> f64 {
    let n = degrees.max(2.0);
    if n > 1e6 {
        return NORMAL_QUANTILE;
    }
    let a = 1.0 / (n - 0.5);
    let b = 48.0 / (a * a);
    let mut c = ((20_700.0 * a / b - 98.0) * a - 16.0) * a + 96.36;
    let d = ((94.5 / (b + c) - 3.0) / b + 1.0) * (a * std::f64::consts::FRAC_PI_2).sqrt() * n;
    let mut y = (d * BOTH_TAILS).powf(2.0 / n);
    if y > 0.05 + a {
        let x = -NORMAL_QUANTILE;
        y = x * x;
        if n < 5.0 {
            c += 0.3 * (n - 4.5) * (x + 0.6);
        }
        c += (((0.05 * d * x - 5.0) * x - 7.0) * x - 2.0) * x + b;
        y = (((((0.4 * y + 6.3) * y + 36.0) * y + 94.5) / c - y - 3.0) / b + 1.0) * x;
        y = (a * y * y).exp_m1();
    } else {
        let inner = (n + 6.0) / (n * y) - 0.089 * d - 0.822;
        y = ((1.0 / (inner * (n + 2.0) * 3.0) + 0.5 / (n + 4.0)) * y - 1.0) * (n + 1.0) / (n + 2.0)
            + 1.0 / y;
    }
    (n * y).sqrt()
}

/// The greatest share of the variance of the values that corrects autocovariances.
const MAX_CORRECTION: f64 = 0.5;
/// The probability outside of an interval.
const BOTH_TAILS: f64 = 0.05;
/// The 97.5 % quantile of the normal distribution.
const NORMAL_QUANTILE: f64 = 1.959_963_984_540_054;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_agree_with_a_table_of_the_t_distribution() {
        let table = [
            (2.0, 4.303),
            (3.0, 3.182),
            (4.0, 2.776),
            (5.0, 2.571),
            (10.0, 2.228),
            (30.0, 2.042),
            (100.0, 1.984),
            (1_000.0, 1.962),
        ];

        for (degrees, expected) in table {
            let found = t_quantile(degrees);

            assert!((found - expected).abs() < 0.002, "{degrees}: {found}, not {expected}");
        }
    }

    #[test]
    fn equal_values_have_no_variance() {
        let mean = Mean::of(&[3.0; 30]).unwrap();

        assert_eq!(mean, Mean { value: 3.0, variance: 0.0, effective: 30.0 });
    }

    #[test]
    fn repeated_values_count_once() {
        let values = (0..400).map(|at| f64::from((at / 8 * 7919) % 101)).collect::<Vec<_>>();

        let mean = Mean::of(&values).unwrap();

        assert!((25.0..100.0).contains(&mean.effective), "{mean:?}");
    }

    #[test]
    fn values_that_differ_by_rounding_have_no_variance() {
        let values: Vec<f64> =
            (1..60).map(|at| (f64::from(at) * 0.9).ln() - f64::from(at).ln()).collect();

        assert_eq!(Mean::of(&values).unwrap().variance, 0.0);
    }

    proptest! {
        /// The interval of a mean contains it, and a larger dependence never narrows it below that
        /// of independent values.
        #[test]
        fn an_interval_contains_the_mean(values in vec(-1e6..1e6_f64, 4..200)) {
            let mean = Mean::of(&values).unwrap();
            let Interval { low, high } = mean.interval();

            prop_assert!(low <= mean.value && mean.value <= high);
            prop_assert!((1.0..=values.len() as f64).contains(&mean.effective));
            let count = values.len() as f64;
            let spread = values.iter().map(|one| (one - mean.value).powi(2)).sum::<f64>() / count;
            prop_assert!(mean.variance >= spread / count * (1.0 - 1e-9));
        }

        /// An interval does not depend on the unit of the values.
        #[test]
        fn an_interval_scales_with_the_values(values in vec(1.0..1e3_f64, 4..100)) {
            let scaled: Vec<f64> = values.iter().map(|one| one * 8.0).collect();

            let (small, large) = (Mean::of(&values).unwrap(), Mean::of(&scaled).unwrap());

            prop_assert_eq!(small.interval().low * 8.0, large.interval().low);
            prop_assert_eq!(small.interval().high * 8.0, large.interval().high);
        }

        /// More degrees of freedom narrow an interval.
        #[test]
        fn quantiles_fall_with_the_degrees(degrees in 2.0..1e5_f64, more in 0.1..1e3_f64) {
            prop_assert!(t_quantile(degrees) >= t_quantile(degrees + more));
            prop_assert!(t_quantile(degrees) >= NORMAL_QUANTILE);
        }
    }

    #[test]
    fn the_median_of_an_even_number_of_values_is_the_mean_of_the_middle_two() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }
}

//! Expressions over the metrics.
//!
//! Each selector has the variables of the dashboards. Rates come before sums, so that a restart of
//! a process does not look like a negative rate.

/// A metric with the matchers that select its series, as in `operation="append"`. They may be
/// empty.
#[derive(Clone, Copy, Debug)]
pub struct Selected {
    /// The name in Prometheus, of a histogram without `_bucket`, `_sum` or `_count`.
    pub metric: &'static str,
    /// The matchers, separated by commas.
    pub matchers: &'static str,
}

impl Selected {
    /// Selects series of a metric.
    pub fn new(metric: &'static str, matchers: &'static str) -> Self {
        Self { metric, matchers }
    }

    /// Returns the rate per second of each series.
    fn rate(&self, suffix: &str) -> String {
        format!("rate({}[$__rate_interval])", self.selector(suffix))
    }

    fn selector(&self, suffix: &str) -> String {
        // A handler serves all stores of its process.
        let store =
            if self.metric.starts_with("eventstore_handler_") { "" } else { ", store=~\"$store\"" };
        let separator = if self.matchers.is_empty() { "" } else { ", " };
        let Self { metric, matchers } = self;
        format!(
            "{metric}{suffix}{{job=~\"$job\", instance=~\"$instance\"{store}{separator}{matchers}}}"
        )
    }
}

/// Returns the rate per second of a counter, for each combination of the labels `by`.
pub fn rate(by: &str, counter: Selected) -> String {
    sum(by, &counter.rate(""))
}

/// Returns the observations per second of a histogram.
pub fn observations(by: &str, histogram: Selected) -> String {
    sum(by, &histogram.rate("_count"))
}

/// Returns the mean of the observations of a histogram: the ratio of two sums. The mean of the
/// means of several processes would give a process with few operations the weight of a busy one.
pub fn mean(by: &str, histogram: Selected) -> String {
    format!("{} / {}", sum(by, &histogram.rate("_sum")), sum(by, &histogram.rate("_count")))
}

/// Returns a quantile of the observations of a histogram, interpolated in its bucket.
pub fn quantile(quantile: f64, by: &str, histogram: Selected) -> String {
    let by = if by.is_empty() { "le".to_owned() } else { format!("le, {by}") };
    format!("histogram_quantile({quantile}, {})", sum(&by, &histogram.rate("_bucket")))
}

/// Returns the share of some series of a counter among more of its series, from 0 to 1.
pub fn share(by: &str, part: Selected, whole: Selected) -> String {
    format!("{} / {}", rate(by, part), rate(by, whole))
}

/// Returns the share of each combination of the labels `by` among all series of a counter.
pub fn share_of_total(by: &str, counter: Selected) -> String {
    format!("{} / on() group_left() {}", rate(by, counter), rate("", counter))
}

/// Returns the sum of one histogram for each observation of another, for instance the time in each
/// phase for each operation.
pub fn mean_per(by: &str, summed: Selected, counted: Selected) -> String {
    let count = sum("", &counted.rate("_count"));
    format!("{} / on() group_left() {count}", sum(by, &summed.rate("_sum")))
}

/// Returns the sum of a gauge.
pub fn total(by: &str, gauge: Selected) -> String {
    sum(by, &gauge.selector(""))
}

/// Returns the highest value of a gauge.
pub fn highest(by: &str, gauge: Selected) -> String {
    format!("max{}({})", clause(by), gauge.selector(""))
}

/// Returns the ratio of the sums of two gauges.
pub fn ratio_of_totals(by: &str, part: Selected, whole: Selected) -> String {
    format!("{} / {}", total(by, part), total(by, whole))
}

fn sum(by: &str, expression: &str) -> String {
    format!("sum{}({expression})", clause(by))
}

fn clause(by: &str) -> String {
    if by.is_empty() { String::new() } else { format!(" by ({by}) ") }
}

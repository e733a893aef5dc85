use std::collections::BTreeMap;

use prometheus::proto::{Metric, MetricFamily, MetricType};
use serde::Serialize;

/// The current value of a metric with some of its labels.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Series {
    /// The name, as Prometheus names it.
    pub name: String,
    /// The labels.
    pub labels: BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

/// Returns the values of metrics, each with the labels that are named for it. Values that differ only
/// in other labels are added up. Counters and histograms that have counted nothing are left out.
pub fn of(families: &[MetricFamily], wanted: &[(&str, &[&str])]) -> Vec<Series> {
    let mut series = Vec::new();
    for (name, labels) in wanted {
        let Some(family) = families.iter().find(|family| family.name() == *name) else { continue };
        let mut sums: BTreeMap<(&str, BTreeMap<&str, &str>), f64> = BTreeMap::new();
        for metric in family.get_metric() {
            let pairs = metric.get_label().iter().map(|label| (label.name(), label.value()));
            let kept: BTreeMap<_, _> = pairs.filter(|(name, _)| labels.contains(name)).collect();
            for (suffix, value) in values(family.get_field_type(), metric) {
                *sums.entry((suffix, kept.clone())).or_default() += value;
            }
        }
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let is_gauge = family.get_field_type() == MetricType::GAUGE;
        let shown = sums.into_iter().filter(|(_, value)| is_gauge || *value != 0.0);
        series.extend(shown.map(|((suffix, labels), value)| Series {
            name: format!("{name}{suffix}"),
            labels: labels.into_iter().map(owned).collect(),
            value,
        }));
    }
    series
}

/// Returns the values of a metric, each with what its name has at the end.
fn values(kind: MetricType, metric: &Metric) -> Vec<(&'static str, f64)> {
    match kind {
        MetricType::COUNTER => vec![("", metric.get_counter().get_value())],
        MetricType::GAUGE => vec![("", metric.get_gauge().get_value())],
        MetricType::HISTOGRAM => {
            let histogram = metric.get_histogram();
            let (sum, count) = (histogram.get_sample_sum(), histogram.get_sample_count());
            vec![("_sum", sum), ("_count", count as f64)]
        }
        MetricType::SUMMARY | MetricType::UNTYPED => Vec::new(),
    }
}

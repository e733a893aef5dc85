//! The values of series, by their attributes.

use std::collections::BTreeMap;

use opentelemetry::KeyValue;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, Metric, MetricData};

use super::Observer;

/// The value of a series: that of a counter or of a gauge, or the sum of a histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    pub value: f64,
    /// The number of a histogram's values; otherwise 1.
    pub count: u64,
}

impl Observer {
    /// Exports the metrics. Returns the series of an instrument by their attributes, and no series
    /// if the instrument has no value.
    pub fn points(&self, name: &str) -> BTreeMap<String, Point> {
        self.metrics.reset();
        self.meters.force_flush().unwrap();
        let exported = self.metrics.get_finished_metrics().unwrap();
        let scopes = exported.iter().flat_map(|resource| resource.scope_metrics());
        let mut metrics = scopes.flat_map(|scope| scope.metrics());
        metrics.find(|metric| metric.name() == name).map(points_of).unwrap_or_default()
    }

    /// Returns the values of the series whose attributes begin with these, without them.
    pub fn values(&self, name: &str, of: &str) -> BTreeMap<String, f64> {
        let points = self.points(name).into_iter();
        let named = points.filter_map(|(text, point)| {
            let rest = text.strip_prefix(of)?;
            let begins = rest.is_empty() || rest.starts_with(' ');
            begins.then(|| (rest.trim_start().to_owned(), point.value))
        });
        named.collect()
    }

    /// Returns the value of a series, or `None` if there is no such series.
    pub fn value(&self, name: &str, attributes: &str) -> Option<f64> {
        self.points(name).get(attributes).map(|point| point.value)
    }
}

fn points_of(metric: &Metric) -> BTreeMap<String, Point> {
    let point = |value: f64| Point { value, count: 1 };
    match metric.data() {
        AggregatedMetrics::U64(MetricData::Sum(sum)) => sum
            .data_points()
            .map(|one| (text(one.attributes()), point(one.value() as f64)))
            .collect(),
        AggregatedMetrics::I64(MetricData::Sum(sum)) => sum
            .data_points()
            .map(|one| (text(one.attributes()), point(one.value() as f64)))
            .collect(),
        AggregatedMetrics::U64(MetricData::Gauge(gauge)) => gauge
            .data_points()
            .map(|one| (text(one.attributes()), point(one.value() as f64)))
            .collect(),
        AggregatedMetrics::F64(MetricData::Gauge(gauge)) => {
            gauge.data_points().map(|one| (text(one.attributes()), point(one.value()))).collect()
        }
        AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
            let point = |count, value| Point { value, count };
            let points = histogram.data_points();
            points.map(|one| (text(one.attributes()), point(one.count(), one.sum()))).collect()
        }
        other => panic!("{}: {other:?}", metric.name()),
    }
}

/// Renders attributes as `key=value`. The store comes first, then the pool, then the others by
/// name. Of the long names of the conventions, the last word is left.
fn text<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> String {
    let pair = |pair: &KeyValue| {
        let key = match pair.key.as_str() {
            "db.client.connection.pool.name" => "pool",
            "db.client.connection.state" => "state",
            key => key,
        };
        let order = ["store", "pool"].iter().position(|first| *first == key).unwrap_or(2);
        (order, format!("{key}={}", pair.value))
    };
    let mut pairs: Vec<_> = attributes.map(pair).collect();
    pairs.sort();
    let pairs: Vec<_> = pairs.into_iter().map(|(_, pair)| pair).collect();
    pairs.join(" ")
}

//! Exporters of OpenTelemetry that keep metrics and spans in memory.

use std::collections::BTreeMap;

use eddyline::Telemetry;
use opentelemetry::KeyValue;
use opentelemetry::global::BoxedTracer;
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, Metric, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};

/// In-memory exporters of metrics and spans.
pub struct Observer {
    pub meters: SdkMeterProvider,
    pub tracers: SdkTracerProvider,
    pub metrics: InMemoryMetricExporter,
    spans: InMemorySpanExporter,
}

impl Observer {
    pub fn new() -> Self {
        let (metrics, spans) = (InMemoryMetricExporter::default(), InMemorySpanExporter::default());
        let reader = PeriodicReader::builder(metrics.clone()).build();
        let meters = SdkMeterProvider::builder().with_reader(reader).build();
        let tracers = SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build();
        Self { meters, tracers, metrics, spans }
    }

    pub fn telemetry(&self) -> Telemetry {
        let tracer = BoxedTracer::new(Box::new(self.tracers.tracer("eddyline")));
        Telemetry::new(&self.meters.meter("eddyline"), tracer)
    }

    /// Exports the metrics and passes the one with `name` to `look`.
    pub fn instrument<T>(&self, name: &str, look: impl FnOnce(&Metric) -> T) -> T {
        self.find_instrument(name, look).unwrap_or_else(|| panic!("no {name}"))
    }

    /// Exports the metrics and passes the one with `name` to `look`, if it has values.
    fn find_instrument<T>(&self, name: &str, look: impl FnOnce(&Metric) -> T) -> Option<T> {
        self.metrics.reset();
        self.meters.force_flush().unwrap();
        let exported = self.metrics.get_finished_metrics().unwrap();
        let mut metrics = exported
            .iter()
            .flat_map(|resource| resource.scope_metrics())
            .flat_map(|scope| scope.metrics());
        metrics.find(|metric| metric.name() == name).map(look)
    }

    /// Returns the values of a counter by its attributes.
    pub fn counter(&self, name: &str) -> BTreeMap<String, u64> {
        self.instrument(name, |metric| match metric.data() {
            AggregatedMetrics::U64(MetricData::Sum(sum)) if sum.is_monotonic() => {
                sum.data_points().map(|point| (text(point.attributes()), point.value())).collect()
            }
            other => panic!("{name} is no counter: {other:?}"),
        })
    }

    /// Returns the number and the total duration of operations by their attributes.
    pub fn durations(&self) -> BTreeMap<String, (u64, f64)> {
        self.histogram("eventstore.operation.duration")
    }

    /// Returns the count and the sum of a histogram by its attributes.
    pub fn histogram(&self, name: &str) -> BTreeMap<String, (u64, f64)> {
        self.instrument(name, |metric| match metric.data() {
            AggregatedMetrics::F64(MetricData::Histogram(histogram)) => histogram
                .data_points()
                .map(|point| (text(point.attributes()), (point.count(), point.sum())))
                .collect(),
            other => panic!("{name} is no histogram of seconds: {other:?}"),
        })
    }

    /// Returns the series of an instrument, with the store's name. There are none if the instrument
    /// has no values.
    pub fn series_of(&self, name: &str) -> Vec<String> {
        let series = self.find_instrument(name, |metric| match metric.data() {
            AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                sum.data_points().map(|point| full_text(point.attributes())).collect()
            }
            AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
                histogram.data_points().map(|point| full_text(point.attributes())).collect()
            }
            other => panic!("{name}: {other:?}"),
        });
        series.unwrap_or_default()
    }

    /// Returns the values above zero of a counter by its attributes.
    pub fn counted(&self, name: &str) -> BTreeMap<String, u64> {
        let mut counted = self.counter(name);
        counted.retain(|_, count| *count > 0);
        counted
    }

    /// Returns the number of operations by their attributes.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.counts_of("eventstore.operation.duration")
    }

    /// Returns the counts above zero of a histogram by its attributes.
    pub fn counts_of(&self, name: &str) -> BTreeMap<String, u64> {
        let histogram = self.histogram(name).into_iter();
        let counts = histogram.map(|(series, (count, _))| (series, count));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    pub fn spans(&self) -> Vec<SpanData> {
        self.spans.get_finished_spans().unwrap()
    }
}

/// Renders attributes as `key=value`, sorted. The store's name is left out, which is usually the
/// name of a log that the test has chosen at random.
fn text<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> String {
    full_text(attributes.filter(|pair| pair.key.as_str() != "store"))
}

/// Renders all attributes as `key=value`, sorted.
fn full_text<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> String {
    let mut pairs: Vec<_> = attributes.map(|pair| format!("{}={}", pair.key, pair.value)).collect();
    pairs.sort();
    pairs.join(" ")
}

/// Returns an attribute of a span as text.
pub fn attribute(span: &SpanData, key: &str) -> Option<String> {
    let pair = span.attributes.iter().find(|pair| pair.key.as_str() == key)?;
    Some(pair.value.to_string())
}

/// Returns the values of series by their attributes, to compare with a counter.
pub fn series<const N: usize>(values: [(&str, u64); N]) -> BTreeMap<String, u64> {
    values.map(|(attributes, value)| (attributes.to_owned(), value)).into()
}

//! Exporters of OpenTelemetry that keep metrics and spans in memory.

use std::collections::BTreeMap;

use eddyline::Telemetry;
use eddyline::opentelemetry::global::BoxedTracer;
use eddyline::opentelemetry::metrics::MeterProvider;
use eddyline::opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};

/// The calls of handlers, by kind, name and outcome.
pub(crate) type Calls = BTreeMap<[String; 3], u64>;

/// In-memory exporters of metrics and spans.
pub(crate) struct Observer {
    meters: SdkMeterProvider,
    tracers: SdkTracerProvider,
    metrics: InMemoryMetricExporter,
    spans: InMemorySpanExporter,
}

impl Observer {
    pub(crate) fn new() -> Self {
        let (metrics, spans) = (InMemoryMetricExporter::default(), InMemorySpanExporter::default());
        let reader = PeriodicReader::builder(metrics.clone()).build();
        let meters = SdkMeterProvider::builder().with_reader(reader).build();
        let tracers = SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build();
        Self { meters, tracers, metrics, spans }
    }

    pub(crate) fn telemetry(&self) -> Telemetry {
        let tracer = BoxedTracer::new(Box::new(self.tracers.tracer("library")));
        Telemetry::new(&self.meters.meter("library"), tracer)
    }

    /// Returns the series of `eventstore.handler.outcomes`, also those that are 0.
    pub(crate) fn calls(&self) -> Calls {
        self.metrics.reset();
        self.meters.force_flush().unwrap();
        let exported = self.metrics.get_finished_metrics().unwrap();
        let scopes = exported.iter().flat_map(|resource| resource.scope_metrics());
        let mut metrics = scopes.flat_map(|scope| scope.metrics());
        let metric = metrics.find(|metric| metric.name() == "eventstore.handler.outcomes").unwrap();
        let AggregatedMetrics::U64(MetricData::Sum(sum)) = metric.data() else {
            panic!("{metric:?}")
        };
        sum.data_points()
            .map(|point| {
                let series = ["kind", "name", "outcome"].map(|key| {
                    let mut attributes = point.attributes();
                    let attribute = attributes.find(|attribute| attribute.key.as_str() == key);
                    attribute.unwrap().value.to_string()
                });
                (series, point.value())
            })
            .collect()
    }

    pub(crate) fn spans(&self) -> Vec<SpanData> {
        self.spans.get_finished_spans().unwrap()
    }
}

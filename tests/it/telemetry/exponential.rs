//! Exponential histograms, which a view of the application selects.

use eddyline::telemetry::INSTRUMENTS;
use eddyline::{Filter, Telemetry};
use opentelemetry::global;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use opentelemetry_sdk::metrics::{
    Aggregation, InMemoryMetricExporter, Instrument, PeriodicReader, SdkMeterProvider, Stream,
};

use crate::support::Log;

fn exponential(instrument: &Instrument) -> Option<Stream> {
    let aggregation = Aggregation::Base2ExponentialHistogram {
        max_size: 160,
        max_scale: 20,
        record_min_max: true,
    };
    let is_histogram_of_seconds = INSTRUMENTS
        .iter()
        .any(|one| one.name == instrument.name() && one.unit == "s" && !one.boundaries.is_empty());
    let view = Stream::builder().with_aggregation(aggregation);
    is_histogram_of_seconds.then(|| view.build().unwrap())
}

#[tokio::test]
async fn a_view_makes_histograms_exponential() {
    let (log, exporter) = (Log::new().await, InMemoryMetricExporter::default());
    let reader = PeriodicReader::builder(exporter.clone()).build();
    let meters = SdkMeterProvider::builder().with_reader(reader).with_view(exponential).build();
    let telemetry = Telemetry::new(&meters.meter("eddyline"), global::tracer("eddyline"));
    let config = log.config().telemetry(telemetry);
    let store = eddyline::Store::<eddyline::ReadWrite>::connect(config).await.unwrap();
    store.query(Filter::everything()).await.unwrap();

    meters.force_flush().unwrap();

    let exported = exporter.get_finished_metrics().unwrap();
    let metrics = exported.iter().flat_map(|one| one.scope_metrics()).flat_map(|one| one.metrics());
    let durations: Vec<_> =
        metrics.filter(|one| one.name() == "eventstore.operation.duration").collect();
    assert_eq!(durations.len(), 1);
    let data = durations[0].data();
    let AggregatedMetrics::F64(MetricData::ExponentialHistogram(histogram)) = data else {
        panic!("{data:?}");
    };
    assert_eq!(histogram.data_points().map(|point| point.count()).sum::<usize>(), 1);
}

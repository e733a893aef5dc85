//! An exporter that never returns.

use std::sync::Arc;
use std::time::Duration;

use eddyline::{AppendCondition, Filter, ReadWrite, Store, Telemetry};
use opentelemetry::global::BoxedTracer;
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tokio::sync::Semaphore;

use crate::support::{Log, lent};

/// An exporter whose exports have begun once they have taken a permit, and never end.
#[derive(Clone, Debug)]
struct Blocked(Arc<Semaphore>);

impl Blocked {
    async fn block(&self) -> OTelSdkResult {
        self.0.add_permits(1);
        std::future::pending().await
    }
}

impl PushMetricExporter for Blocked {
    async fn export(&self, _metrics: &ResourceMetrics) -> OTelSdkResult {
        self.block().await
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

impl SpanExporter for Blocked {
    async fn export(&self, _batch: Vec<SpanData>) -> OTelSdkResult {
        self.block().await
    }
}

#[tokio::test]
async fn operations_do_not_wait_for_exporters() {
    let log = Log::new().await;
    let (metrics, spans) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let reader = PeriodicReader::builder(Blocked(metrics.clone()));
    let reader = reader.with_interval(Duration::from_millis(1)).build();
    let meters = SdkMeterProvider::builder().with_reader(reader).build();
    let batches = BatchConfigBuilder::default().with_max_queue_size(4);
    let batches = batches.with_scheduled_delay(Duration::from_millis(1)).build();
    let processor = BatchSpanProcessor::builder(Blocked(spans.clone())).with_batch_config(batches);
    let tracers = SdkTracerProvider::builder().with_span_processor(processor.build()).build();
    let tracer = BoxedTracer::new(Box::new(tracers.tracer("eddyline")));
    let telemetry = Telemetry::new(&meters.meter("eddyline"), tracer);
    let store = Store::<ReadWrite>::connect(log.config().telemetry(telemetry)).await.unwrap();

    store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
    metrics.acquire().await.unwrap().forget();
    spans.acquire().await.unwrap().forget();

    // More spans than the processor's queue holds.
    for _ in 0..50 {
        store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
    }
    assert_eq!(store.query(Filter::everything()).await.unwrap().events().len(), 51);
    // Their threads never end.
    std::mem::forget((meters, tracers));
}

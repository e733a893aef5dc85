//! The metrics and traces of the stores: collected by the SDK of OpenTelemetry, shown as text for
//! Prometheus, and sent to a collector if that is asked for.

mod export;
mod series;
mod warning;

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::global::{self, BoxedTracer};
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use prometheus::{Registry, TextEncoder};
use tokio::sync::oneshot;
use tokio::time::timeout;
use uuid::Uuid;

use self::warning::Warning;

pub use self::export::{Export, ExportError};
pub use self::series::Series;

/// The metrics and traces of the stores of a load.
#[derive(Debug)]
pub struct Instrumentation {
    meters: SdkMeterProvider,
    registry: Registry,
    collector: Option<Collector>,
}

/// What sends metrics and traces to a collector.
#[derive(Debug)]
struct Collector {
    tracers: SdkTracerProvider,
    warning: Arc<Warning>,
}

/// An error that keeps metrics and traces from being collected.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The export to a collector cannot be set up.
    #[error(transparent)]
    Export(#[from] ExportError),

    /// The metrics cannot be collected.
    #[error("cannot collect metrics")]
    Sdk(#[source] OTelSdkError),
}

impl Instrumentation {
    /// Starts to collect, and to send what is collected if there is an export.
    ///
    /// # Errors
    ///
    /// [`TelemetryError::Export`] if the environment has a wrong value for an export.
    pub fn start(export: Option<&Export>) -> Result<Self, TelemetryError> {
        let instance = KeyValue::new("service.instance.id", Uuid::now_v7().to_string());
        let resource =
            Resource::builder().with_service_name(SERVICE).with_attribute(instance).build();
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            // A panel must not depend on the scope of an instrument: other exporters have no labels
            // for it.
            .scope_info_enabled(false)
            .build()
            .map_err(TelemetryError::Sdk)?;
        let mut meters =
            SdkMeterProvider::builder().with_resource(resource.clone()).with_reader(exporter);
        let mut collector = None;
        if let Some(export) = export {
            let warning = Arc::new(Warning::new(export.target()));
            meters = meters.with_reader(export.metrics(&warning)?);
            let tracers = SdkTracerProvider::builder()
                .with_resource(resource)
                .with_batch_exporter(export.spans(&warning)?)
                .build();
            collector = Some(Collector { tracers, warning });
        }
        Ok(Self { meters: meters.build(), registry, collector })
    }

    /// Returns the instruments for the stores of the load.
    pub fn stores(&self) -> eddyline::Telemetry {
        eddyline::Telemetry::new(&self.meters.meter(SCOPE), self.tracer())
    }

    fn tracer(&self) -> BoxedTracer {
        match &self.collector {
            Some(Collector { tracers, .. }) => BoxedTracer::new(Box::new(tracers.tracer(SCOPE))),
            None => global::tracer(SCOPE),
        }
    }

    /// Returns all metrics in the text format of Prometheus.
    ///
    /// # Errors
    ///
    /// An error if a metric cannot be written as text.
    pub fn text(&self) -> io::Result<String> {
        let text = TextEncoder::new().encode_to_string(&self.registry.gather());
        text.map_err(io::Error::other)
    }

    /// Returns the current values of metrics, as Prometheus names them, each with the labels that
    /// are named for it. Values that differ only in other labels are added up. A histogram has its
    /// sum and its count. Counters and histograms that have counted nothing are left out.
    pub fn series(&self, wanted: &[(&str, &[&str])]) -> Vec<Series> {
        series::of(&self.registry.gather(), wanted)
    }

    /// Sends what was collected and not sent, and ends. This takes a few seconds at most: a
    /// collector that does not answer in this time misses the rest.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the rest may not be sent.
    pub async fn shut_down(&self) {
        let Some(Collector { tracers, warning }) = &self.collector else { return };
        let (meters, tracers) = (self.meters.clone(), tracers.clone());
        let (sender, ended) = oneshot::channel();
        // The SDK blocks until the collector has answered. The runtime would wait for a blocking
        // task of its own before the process ends, and it does not wait for a thread.
        thread::spawn(move || {
            let spans = thread::spawn(move || tracers.shutdown_with_timeout(LONGEST_SHUTDOWN));
            let metrics = meters.shutdown_with_timeout(LONGEST_SHUTDOWN);
            let _ = sender.send((metrics, spans.join()));
        });
        if timeout(LONGEST_SHUTDOWN, ended).await.is_err() {
            warning.give("it does not answer");
        }
    }
}

/// The name of the program in all metrics and traces.
const SERVICE: &str = "library";
/// The name of the meter and of the tracer.
const SCOPE: &str = "eddyline";
const LONGEST_SHUTDOWN: Duration = Duration::from_secs(3);

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use console::print_stderr;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

/// The warning that a collector cannot be reached. It is printed once.
#[derive(Debug)]
pub struct Warning {
    target: String,
    is_given: AtomicBool,
}

impl Warning {
    /// Creates a warning about a collector.
    pub fn new(target: String) -> Self {
        Self { target, is_given: AtomicBool::new(false) }
    }

    /// Prints the warning with its cause, if it was not printed before.
    pub fn give(&self, cause: impl fmt::Display) {
        if !self.is_given.swap(true, Ordering::Relaxed) {
            let target = &self.target;
            print_stderr(&format!(
                "warning: cannot export to {target}: {cause}. The load goes on without it"
            ));
        }
    }
}

/// An exporter whose first failure is printed. The SDK does not report failures.
#[derive(Debug)]
pub struct Warned<E> {
    exporter: E,
    warning: Arc<Warning>,
}

impl<E> Warned<E> {
    /// Adds a warning to an exporter.
    pub fn new(exporter: E, warning: &Arc<Warning>) -> Self {
        Self { exporter, warning: Arc::clone(warning) }
    }

    fn checked(&self, result: OTelSdkResult) -> OTelSdkResult {
        result.inspect_err(|error| self.warning.give(error))
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Warned<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.checked(self.exporter.export(metrics).await)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}

impl<E: SpanExporter> SpanExporter for Warned<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.checked(self.exporter.export(batch).await)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

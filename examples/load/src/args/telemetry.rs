//! The options of the telemetry.

use clap::Args;
use serde::Serialize;

/// The options of the telemetry.
#[derive(Args, Clone, Debug, Default, Serialize)]
#[command(next_help_heading = "Telemetry")]
pub struct TelemetryOptions {
    /// Address that serves /metrics for Prometheus, and the live page: `off`, HOST:PORT, or a port.
    /// Port 0 is any free port. Without it, 127.0.0.1:9464, or any free port if this one is taken
    #[arg(long, value_name = "ADDRESS", env = "LIBRARY_METRICS")]
    pub metrics: Option<String>,

    /// Send metrics and traces to a collector: `otlp` as the environment variables
    /// OTEL_EXPORTER_OTLP_… say, by default to localhost:4318, or otlp://HOST:PORT. OTLP over HTTP
    #[arg(long, value_name = "TARGET", env = "LIBRARY_EXPORT")]
    pub export: Option<String>,
}

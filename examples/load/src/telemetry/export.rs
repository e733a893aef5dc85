use std::env;
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use opentelemetry_otlp::{
    ExporterBuildError, MetricExporter, OTEL_EXPORTER_OTLP_ENDPOINT, Protocol, SpanExporter,
    WithExportConfig as _,
};
use opentelemetry_sdk::metrics::PeriodicReader;

use super::warning::{Warned, Warning};

/// Where metrics and traces are sent: to a collector, by OTLP over HTTP.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Export {
    /// The URL of the collector. `None` if the environment names it.
    url: Option<String>,
}

/// An export that is not possible.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The exporter refuses a value of the environment.
    #[error("--export cannot be set up: correct the environment variables OTEL_EXPORTER_OTLP_…")]
    Environment(#[source] ExporterBuildError),

    /// A variable of the environment asks for TLS.
    #[error(
        "{variable} begins with https, and the load generator exports without TLS: use the http \
         address of a collector, which can forward by https"
    )]
    Tls {
        /// The name of the variable.
        variable: &'static str,
    },

    /// The option names no target.
    #[error(
        "--export must be otlp or otlp://HOST:PORT, such as otlp://localhost:4318, not {text:?}"
    )]
    Target {
        /// The value of the option.
        text: String,
    },
}

impl Export {
    /// Reads the value of `--export`, and checks the environment that it needs.
    ///
    /// # Errors
    ///
    /// [`ExportError::Target`] if it is not `otlp` or an address. [`ExportError::Tls`] if the
    /// environment names an address that needs TLS.
    pub fn parse(text: &str) -> Result<Self, ExportError> {
        if text == "otlp" {
            let tls = ENDPOINTS.into_iter().find(|variable| {
                env::var(variable).is_ok_and(|url| url.trim_start().starts_with("https:"))
            });
            return match tls {
                Some(variable) => Err(ExportError::Tls { variable }),
                None => Ok(Self { url: None }),
            };
        }
        let address = text.strip_prefix("otlp://").and_then(address);
        match address {
            Some(address) => Ok(Self { url: Some(format!("http://{address}")) }),
            None => Err(ExportError::Target { text: text.to_owned() }),
        }
    }

    /// Returns the address of the collector, as a message shows it.
    pub fn target(&self) -> String {
        let from_environment = || env::var(OTEL_EXPORTER_OTLP_ENDPOINT).ok();
        let url = self.url.clone().or_else(from_environment).filter(|url| !url.is_empty());
        let url = url.unwrap_or_else(|| DEFAULT.to_owned());
        // An address of the environment can have a password.
        match url.rsplit_once('@') {
            Some((_, host)) => format!("http://{host}"),
            None => url,
        }
    }

    /// Returns a reader that sends metrics from a thread of its own.
    ///
    /// # Errors
    ///
    /// [`ExportError::Environment`] if the environment has a wrong value.
    pub(super) fn metrics(
        &self,
        warning: &Arc<Warning>,
    ) -> Result<PeriodicReader<Warned<MetricExporter>>, ExportError> {
        let mut exporter = MetricExporter::builder().with_http().with_protocol(PROTOCOL);
        if let Some(url) = &self.url {
            exporter = exporter.with_endpoint(format!("{url}/v1/metrics"));
        }
        let exporter = exporter.build().map_err(ExportError::Environment)?;
        let reader = PeriodicReader::builder(Warned::new(exporter, warning));
        // The default of the SDK is a minute, in which a load may have ended.
        Ok(match env::var_os("OTEL_METRIC_EXPORT_INTERVAL") {
            Some(_) => reader.build(),
            None => reader.with_interval(INTERVAL).build(),
        })
    }

    /// Returns an exporter of spans. The processor of batches sends them from a thread of its own,
    /// and drops spans if the collector is too slow.
    ///
    /// # Errors
    ///
    /// [`ExportError::Environment`] if the environment has a wrong value.
    pub(super) fn spans(
        &self,
        warning: &Arc<Warning>,
    ) -> Result<Warned<SpanExporter>, ExportError> {
        let mut exporter = SpanExporter::builder().with_http().with_protocol(PROTOCOL);
        if let Some(url) = &self.url {
            exporter = exporter.with_endpoint(format!("{url}/v1/traces"));
        }
        let exporter = exporter.build().map_err(ExportError::Environment)?;
        Ok(Warned::new(exporter, warning))
    }
}

/// Returns the host and port of an address, with the port of OTLP over HTTP if it has none.
fn address(text: &str) -> Option<String> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let uri: Uri = format!("http://{text}").parse().ok()?;
    let authority = uri.authority().filter(|authority| authority.as_str() == text)?;
    let has_host = !authority.host().is_empty() && !text.contains('@');
    let after_host = text.strip_prefix(authority.host())?;
    match (has_host, after_host, authority.port_u16()) {
        (true, "", _) => Some(format!("{text}:{PORT}")),
        (true, _, Some(port)) if port > 0 => Some(text.to_owned()),
        _ => None,
    }
}

const PROTOCOL: Protocol = Protocol::HttpBinary;
const PORT: u16 = 4318;
const DEFAULT: &str = "http://localhost:4318";
const INTERVAL: Duration = Duration::from_secs(5);
/// The variables of the environment that have an address of a collector.
const ENDPOINTS: [&str; 3] = [
    OTEL_EXPORTER_OTLP_ENDPOINT,
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_by_default_the_port_of_otlp() {
        for (text, url) in [
            ("otlp://collector:4319", "http://collector:4319"),
            ("otlp://collector", "http://collector:4318"),
            ("otlp://[::1]:4318/", "http://[::1]:4318"),
        ] {
            assert_eq!(Export::parse(text).unwrap().target(), url, "{text}");
        }
    }

    #[test]
    fn other_targets_are_refused() {
        for text in [
            "",
            "OTLP",
            "otlp://",
            "otlp://:4318",
            "otlp://collector:0",
            "otlp://collector:port",
            "otlp://collector:4318/v1/metrics",
            "otlp://user:secret@collector:4318",
            "http://collector:4318",
        ] {
            let error = Export::parse(text).unwrap_err();

            assert!(matches!(error, ExportError::Target { .. }), "{text}: {error}");
        }
    }
}

//! The metrics of this process.

use std::sync::Arc;

use eddyline::Telemetry;
use load::telemetry::Instrumentation;

use crate::{Failure, Scrape};

/// The exported metrics of this process, set up as in the load generator.
#[derive(Clone, Debug)]
pub struct Exporter {
    instrumentation: Arc<Instrumentation>,
    telemetry: Telemetry,
}

impl Exporter {
    /// Creates an exporter without metrics.
    ///
    /// # Errors
    ///
    /// [`Failure::Malformed`] if the SDK refuses its settings.
    pub fn new() -> Result<Self, Failure> {
        let started = Instrumentation::start(None);
        let instrumentation = started.map_err(|error| Failure::Malformed(error.to_string()))?;
        let telemetry = instrumentation.stores();
        Ok(Self { instrumentation: Arc::new(instrumentation), telemetry })
    }

    /// Returns what stores send their metrics to.
    pub fn telemetry(&self) -> Telemetry {
        self.telemetry.clone()
    }

    /// Returns the text of `/metrics`. It is empty if a metric cannot be written.
    pub fn text(&self) -> String {
        self.instrumentation.text().unwrap_or_default()
    }

    /// Returns the current values.
    ///
    /// # Errors
    ///
    /// [`Failure::Malformed`].
    pub fn scrape(&self) -> Result<Scrape, Failure> {
        Scrape::parse(&self.text())
    }

    /// Returns the current values of a store.
    ///
    /// # Errors
    ///
    /// [`Failure::Malformed`].
    pub fn scrape_of(&self, store: &str) -> Result<Scrape, Failure> {
        let (text, label) = (self.text(), format!("store=\"{store}\""));
        let lines: Vec<_> = text.lines().filter(|line| line.contains(&label)).collect();
        Scrape::parse(&lines.join("\n"))
    }
}

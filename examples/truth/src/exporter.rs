//! The metrics of this process.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use eddyline::Telemetry;
use load::LoadError;
use load::telemetry::Instrumentation;
use load::web::{Address, Answer, Limits, Server, Serving};

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

/// Answers requests for `/metrics` with a text, on a free port of this machine. Returns the address,
/// and what has to be kept for so long.
///
/// # Errors
///
/// [`Failure::Load`].
pub async fn serve(
    text: impl Fn() -> String + Send + Sync + 'static,
) -> Result<(SocketAddr, Serving), Failure> {
    let free = Address::Given(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let bound = Server::bind(free).await.map_err(LoadError::from)?;
    let Some(server) = bound else { unreachable!("an address was given") };
    let address = server.address();
    let serving = server.serve(Limits::default(), move |request| {
        (request.path == "/metrics").then(|| Answer::new("text/plain; version=0.0.4", text()))
    });
    Ok((address, serving))
}

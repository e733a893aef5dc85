//! The error type of the proxy.

use std::io;

/// An error of starting a proxy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The proxy cannot listen on a port.
    #[error("cannot listen on 127.0.0.1")]
    Listen {
        /// The cause.
        source: io::Error,
    },
}

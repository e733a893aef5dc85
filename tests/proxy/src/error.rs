use std::io;

/// A proxy could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No port could be listened at.
    #[error("cannot listen on 127.0.0.1")]
    Listen {
        /// Why not.
        source: io::Error,
    },
}

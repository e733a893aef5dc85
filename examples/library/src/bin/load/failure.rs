use std::io;
use std::path::{Path, PathBuf};

use library::queries::QueryError;

/// Says why there is nothing to report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A client did not come to its end.
    #[error("a client of the load failed")]
    Client(#[source] tokio::task::JoinError),

    /// The embedded cluster could not be made.
    #[error(transparent)]
    Cluster(local_postgres::Error),

    /// The report's file could not be written.
    #[error("cannot write {}", path.display())]
    Json {
        /// Where to.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },

    /// The log could not be read into what the clients know.
    #[error(transparent)]
    Query(QueryError),

    /// The store failed.
    #[error(transparent)]
    Store(eddyline::Error),
}

impl Failure {
    pub(crate) fn json(path: &Path, source: io::Error) -> Self {
        Self::Json { path: path.to_owned(), source }
    }
}

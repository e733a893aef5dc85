use std::error::Error;
use std::io;
use std::path::PathBuf;

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

    /// The report could not be shown.
    #[error("cannot write to the standard output")]
    Output(#[source] io::Error),

    /// The log could not be read into what the clients know.
    #[error(transparent)]
    Query(QueryError),

    /// The store failed.
    #[error(transparent)]
    Store(eddyline::Error),
}

impl Failure {
    /// Returns what went wrong with all of its causes.
    pub(crate) fn in_one_line(&self) -> String {
        in_one_line(self)
    }
}

/// Writes an error and what it was caused by into one line.
pub(crate) fn in_one_line(error: &dyn Error) -> String {
    let mut texts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    // Some errors repeat their cause in their own text.
    texts.dedup_by(|cause, error| error.ends_with(cause.as_str()));
    let text = texts.join(": ");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

use std::io;
use std::path::{Path, PathBuf};

use library::queries::QueryError;

use crate::plan::ScheduleError;
use crate::servers::ServerName;

/// An error that ends the load generator.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The task of a client panicked or was aborted.
    #[error("a client of the load failed")]
    Client(#[source] tokio::task::JoinError),

    /// The PostgreSQL cluster of the load generator could not be started.
    #[error(transparent)]
    Cluster(local_postgres::Error),

    /// The report file could not be written.
    #[error("cannot write {}", path.display())]
    Json {
        /// The path of the report file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },

    /// No server has the name now.
    #[error("there is no {0} now")]
    NoServer(ServerName),

    /// The proxy in front of a server could not be started.
    #[error(transparent)]
    Proxy(fault_proxy::Error),

    /// The existing log could not be read into the population.
    #[error(transparent)]
    Query(QueryError),

    /// The load has no valid schedule.
    #[error(transparent)]
    Schedule(ScheduleError),

    /// The database of the load generator's own servers refused a statement.
    #[error("the load generator's own PostgreSQL refused to {action}")]
    Sql {
        /// What was to be done, as a verb.
        action: &'static str,
        /// The cause.
        source: tokio_postgres::Error,
    },

    /// The event store failed.
    #[error(transparent)]
    Store(eddyline::Error),
}

impl LoadError {
    /// Returns the error of a report file.
    pub fn json(path: &Path, source: io::Error) -> Self {
        Self::Json { path: path.to_owned(), source }
    }
}

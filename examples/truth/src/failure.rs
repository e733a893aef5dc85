use std::io;

use eddyline::Error;
use load::LoadError;

/// A failure of the program itself. A comparison that does not hold is no failure.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The servers cannot be started, stopped or paused.
    #[error(transparent)]
    Cluster(#[from] local_postgres::Error),
    /// A file, a program or a connection of the program failed.
    #[error("cannot {action}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The load generator failed.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Text that Prometheus or the exporter returned is not what it should be.
    #[error("{0}")]
    Malformed(String),
    /// Prometheus does not answer.
    #[error("Prometheus {0}")]
    Prometheus(String),
    /// A statement of the program failed.
    #[error("cannot {action}")]
    Sql {
        /// What was tried.
        action: &'static str,
        /// The cause.
        source: tokio_postgres::Error,
    },
    /// A store cannot be made, or an operation that has to succeed failed.
    #[error("cannot {action}")]
    Store {
        /// What was tried.
        action: &'static str,
        /// The cause.
        source: Error,
    },
    /// A task of the program panicked.
    #[error("a task ended early")]
    Task(#[from] tokio::task::JoinError),
}

impl Failure {
    /// Returns the failure of an action with files, programs or connections.
    pub fn io(action: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { action, source }
    }

    /// Returns the failure of a statement.
    pub fn sql(action: &'static str) -> impl Fn(tokio_postgres::Error) -> Self {
        move |source| Self::Sql { action, source }
    }

    /// Returns the failure of an operation of a store.
    pub fn store(action: &'static str) -> impl Fn(Error) -> Self {
        move |source| Self::Store { action, source }
    }
}

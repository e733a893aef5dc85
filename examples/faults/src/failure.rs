//! What ends the program early, and how it is told.

use std::io;

use crate::Campaign;

/// The run could not be held or judged.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Appends that are made at once do not go together.
    #[error("appends that are made at once are stored by several transactions")]
    Apart,
    /// The local cluster failed.
    #[error("cannot start or control the cluster")]
    Cluster(#[source] local_postgres::Error),
    /// A file could not be read.
    #[error("cannot {action}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// Decisions lose no rounds, or do not go on under the log's lock.
    #[error("no decision goes on under the log's lock after a lost round")]
    NotEscalated,
    /// The proxy could not be started.
    #[error("cannot start a proxy")]
    Proxy(#[source] fault_proxy::Error),
    /// The server refused what is not under test.
    #[error("cannot {action}")]
    Sql {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: tokio_postgres::Error,
    },
    /// The store could not be set up.
    #[error("cannot {action}")]
    Store {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: eddyline::Error,
    },
    /// A task of the program panicked.
    #[error("a task failed")]
    Task(#[source] tokio::task::JoinError),
    /// Something did not come about.
    #[error("{what} did not come about within {seconds} s")]
    TimedOut {
        /// What was waited for.
        what: String,
        /// For how long.
        seconds: u64,
    },
    /// A writer got nowhere.
    #[error("{campaign}: {faults} attempts failed in a row, the last: {last}")]
    Stuck {
        /// The campaign.
        campaign: Campaign,
        /// How many failed.
        faults: u32,
        /// Why the last one did.
        last: String,
    },
}

impl Failure {
    pub(crate) fn sql(action: &'static str) -> impl Fn(tokio_postgres::Error) -> Self {
        move |source| Self::Sql { action, source }
    }

    pub(crate) fn store(action: &'static str) -> impl Fn(eddyline::Error) -> Self {
        move |source| Self::Store { action, source }
    }
}

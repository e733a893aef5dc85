//! Errors that end the program.

use crate::Campaign;

/// An error that prevented the run or its check.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Concurrent appends do not share a transaction.
    #[error("concurrent appends are stored by several transactions")]
    SeveralTransactions,
    /// The local cluster failed.
    #[error("cannot start or control the cluster")]
    Cluster(#[source] local_postgres::Error),
    /// Decisions do not conflict, or do not take the log's lock afterwards.
    #[error("no decision takes the log's lock after a conflict")]
    NotEscalated,
    /// The proxy could not be started.
    #[error("cannot start a proxy")]
    Proxy(#[source] fault_proxy::Error),
    /// The server returned an error for a statement that is not under test.
    #[error("cannot {action}")]
    Sql {
        /// What the program tried to do.
        action: &'static str,
        /// The cause.
        source: tokio_postgres::Error,
    },
    /// The store could not be set up.
    #[error("cannot {action}")]
    Store {
        /// What the program tried to do.
        action: &'static str,
        /// The cause.
        source: eddyline::Error,
    },
    /// A task of the program panicked.
    #[error("a task failed")]
    Task(#[source] tokio::task::JoinError),
    /// A wait timed out.
    #[error("timed out after {seconds} s waiting for {what}")]
    TimedOut {
        /// What the program waited for.
        what: String,
        /// The timeout, in seconds.
        seconds: u64,
    },
    /// Too many attempts of a writer failed in a row.
    #[error("{campaign}: {failures} consecutive attempts failed, the last one: {last}")]
    Stuck {
        /// The campaign.
        campaign: Campaign,
        /// The number of failed attempts.
        failures: u32,
        /// The error of the last one.
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

//! What ends the program early, and how it is told.

use std::io;

/// The race could not be held or judged.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("cannot start a cluster")]
    Cluster(#[source] local_postgres::Error),
    #[error("cannot {action}")]
    Io { action: &'static str, source: io::Error },
    #[error("event {number} of the log is none of the race")]
    Foreign { number: u64, source: serde_json::Error },
    #[error("cannot {action}")]
    Sql { action: &'static str, source: tokio_postgres::Error },
    #[error("cannot {action}")]
    Store { action: &'static str, source: eddyline::Error },
    #[error("an actor met {faults} faults in a row, the last: {last}")]
    Stuck { faults: u32, last: String },
    #[error("{who} did not {action} within {seconds} s")]
    TimedOut { who: String, action: &'static str, seconds: u64 },
    #[error("worker {worker} {reason}")]
    Worker { worker: usize, reason: String },
}

impl Failure {
    pub fn io(action: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { action, source }
    }

    pub fn sql(action: &'static str) -> impl Fn(tokio_postgres::Error) -> Self {
        move |source| Self::Sql { action, source }
    }

    pub fn store(action: &'static str) -> impl Fn(eddyline::Error) -> Self {
        move |source| Self::Store { action, source }
    }
}

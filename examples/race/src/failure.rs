//! Errors that end the program.

use std::io;

/// An error that prevented the race or its check.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("cannot start a cluster")]
    Cluster(#[source] local_postgres::Error),
    #[error("cannot {action}")]
    Io { action: &'static str, source: io::Error },
    #[error("event {position} of the log was not appended by this race")]
    Foreign { position: u64, source: serde_json::Error },
    #[error("cannot {action}")]
    Sql { action: &'static str, source: tokio_postgres::Error },
    #[error("cannot {action}")]
    Store { action: &'static str, source: eddyline::Error },
    #[error("an actor had {errors} consecutive errors, the last one: {last}")]
    Stuck { errors: u32, last: String },
    #[error("{what} did not {action} within {seconds} s")]
    TimedOut { what: String, action: &'static str, seconds: u64 },
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

//! What ends the program early, and how it is told.

use std::error::Error;
use std::io::{self, Write};

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

/// Tells an error with all its causes, in one line.
pub fn in_one_line(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    let mut parts: Vec<String> = Vec::new();
    for cause in causes.map(ToString::to_string) {
        // Some errors repeat their cause in their own text.
        if !parts.last().is_some_and(|last| last.contains(&cause)) {
            parts.push(cause);
        }
    }
    parts.join(": ").replace('\n', " ")
}

/// Tells a line on standard error, if anybody still listens.
pub fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_causes_in_one_line() {
        let failure = Failure::io("start a worker")(io::Error::other("no\nmemory"));

        assert_eq!(in_one_line(&failure), "cannot start a worker: no memory");
    }
}

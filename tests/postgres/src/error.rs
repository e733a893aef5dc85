//! What can go wrong with a local cluster.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A cluster could not be made, started or controlled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process holds a cluster in the directory.
    #[error("the cluster in {} is in use by another process", directory.display())]
    DirectoryInUse {
        /// The directory of the cluster.
        directory: PathBuf,
    },

    /// The directory holds a cluster of another shape than the one asked for.
    #[error("the cluster in {} has {found} standbys, not {wanted}", directory.display())]
    DirectoryMismatch {
        /// The directory of the cluster.
        directory: PathBuf,
        /// The number of standbys it has.
        found: usize,
        /// The number of standbys asked for.
        wanted: usize,
    },

    /// The user the servers run as cannot enter the directory.
    #[error("user {user} cannot enter {}", directory.display())]
    DirectoryUnreachable {
        /// The directory of the cluster.
        directory: PathBuf,
        /// The user the servers run as.
        user: String,
    },

    /// A setting has a name that PostgreSQL's configuration file cannot hold.
    #[error("invalid name of a setting: {name:?}")]
    InvalidSetting {
        /// The name as given.
        name: String,
    },

    /// The operating system refused something.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file, folder or program it was tried on.
        path: PathBuf,
        /// Why it was refused.
        source: io::Error,
    },

    /// A program ended with a failure.
    #[error("{program} failed with {status}: {output}")]
    ProgramFailed {
        /// The program's name.
        program: String,
        /// How it ended.
        status: String,
        /// The end of what it wrote.
        output: String,
    },

    /// No usable programs of PostgreSQL are on this machine.
    #[error(
        "no programs of PostgreSQL 14 or newer (initdb and postgres) found{}: run `{command}`, or \
         set EDDYLINE_PG_BIN to their folder",
        skipped(rejected)
    )]
    ProgramsMissing {
        /// The command that would provide them.
        command: String,
        /// Folders that hold such programs but cannot serve, each with the reason.
        rejected: Vec<String>,
    },

    /// The servers refuse to run as root and there is no other user to run them as.
    #[error("postgres refuses to run as root, and neither user postgres nor nobody exists")]
    RootOnly,

    /// A server ended while it was starting.
    #[error("{server} ended with {status} while starting: {log}")]
    StartFailed {
        /// The server's name.
        server: String,
        /// How its process ended.
        status: String,
        /// The end of its log.
        log: String,
    },

    /// A server refused a statement or a connection.
    #[error("{server} refused to {action}")]
    Sql {
        /// The server's name.
        server: String,
        /// What was asked of it, as a verb.
        action: &'static str,
        /// Its answer.
        source: tokio_postgres::Error,
    },

    /// Something did not happen in time.
    #[error("{server} did not {action} within {waited:?}: {log}")]
    TimedOut {
        /// The server's name.
        server: String,
        /// What was waited for, as a verb.
        action: &'static str,
        /// How long was waited.
        waited: Duration,
        /// The end of its log.
        log: String,
    },

    /// The server is not running.
    #[error("{server} is not running")]
    Stopped {
        /// The server's name.
        server: String,
    },
}

impl Error {
    /// Makes the error of a refused operation on a path.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

fn skipped(rejected: &[String]) -> String {
    if rejected.is_empty() { String::new() } else { format!(" ({})", rejected.join(", ")) }
}

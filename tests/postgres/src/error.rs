//! The error type of local clusters.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An error of creating, starting or controlling a cluster.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process uses the cluster in the directory.
    #[error("the cluster in {} is in use by another process", directory.display())]
    DirectoryInUse {
        /// The directory of the cluster.
        directory: PathBuf,
    },

    /// The cluster in the directory has another number of standbys than requested.
    #[error("the cluster in {} has {found} standbys, not {wanted}", directory.display())]
    DirectoryMismatch {
        /// The directory of the cluster.
        directory: PathBuf,
        /// The number of standbys it has.
        found: usize,
        /// The requested number of standbys.
        wanted: usize,
    },

    /// The user that the servers run as cannot enter the directory.
    #[error("user {user} cannot enter {}", directory.display())]
    DirectoryUnreachable {
        /// The directory of the cluster.
        directory: PathBuf,
        /// The user that the servers run as.
        user: String,
    },

    /// The name of a setting is invalid in PostgreSQL's configuration file.
    #[error("invalid name of a setting: {name:?}")]
    InvalidSetting {
        /// The invalid name.
        name: String,
    },

    /// An operating system error.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// The action that failed, as a verb.
        action: &'static str,
        /// The file, folder or program of the action.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },

    /// A program has failed.
    #[error("{program} failed with {status}: {output}")]
    ProgramFailed {
        /// The program's name.
        program: String,
        /// Its exit status.
        status: String,
        /// The end of its output.
        output: String,
    },

    /// This machine has no usable programs of PostgreSQL.
    #[error(
        "no programs of PostgreSQL 14 or newer (initdb and postgres) found{}: run `{command}`, or \
         set EDDYLINE_PG_BIN to their folder",
        rejected_suffix(rejected)
    )]
    ProgramsMissing {
        /// The command that installs them.
        command: String,
        /// Folders with unusable programs, each with the reason.
        rejected: Vec<String>,
    },

    /// The servers refuse to run as root, and there is no other user to run them as.
    #[error("postgres refuses to run as root, and neither user postgres nor nobody exists")]
    RootOnly,

    /// A server has ended during its start.
    #[error("{server} ended with {status} while starting: {log}")]
    StartFailed {
        /// The server's name.
        server: String,
        /// The exit status of its process.
        status: String,
        /// The end of its log.
        log: String,
    },

    /// A server has refused a statement or a connection.
    #[error("{server} refused to {action}")]
    Sql {
        /// The server's name.
        server: String,
        /// The refused action, as a verb.
        action: &'static str,
        /// The error of the server or the connection.
        source: tokio_postgres::Error,
    },

    /// An action did not finish in time.
    #[error("{server} did not {action} within {waited:?}: {log}")]
    TimedOut {
        /// The server's name.
        server: String,
        /// The action, as a verb.
        action: &'static str,
        /// The time waited.
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
    /// Returns a function that converts an I/O error of an action on a path.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

fn rejected_suffix(rejected: &[String]) -> String {
    if rejected.is_empty() { String::new() } else { format!(" ({})", rejected.join(", ")) }
}

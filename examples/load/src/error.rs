use std::io;
use std::path::PathBuf;

use crate::city::SkewError;
use crate::faults::ScriptError;
use crate::import::SizeError;
use crate::plan::file::PlanFileError;
use crate::plan::{MixError, ScheduleError};
use crate::servers::ServerName;
use crate::telemetry::{ExportError, TelemetryError};
use crate::web::AddressError;

/// An error that ends the load generator.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The address for the metrics cannot be used.
    #[error(transparent)]
    Address(#[from] AddressError),

    /// The task of a client panicked or was aborted.
    #[error("a client of the load failed")]
    Client(#[source] tokio::task::JoinError),

    /// The PostgreSQL cluster of the load generator could not be started.
    #[error(transparent)]
    Cluster(local_postgres::Error),

    /// Metrics and traces cannot be exported.
    #[error(transparent)]
    Export(#[from] ExportError),

    /// The goal of a search for the limit is not allowed.
    #[error("--goal-ms must be above 0 and at most 600000, not {goal}")]
    Goal {
        /// The goal, in milliseconds.
        goal: f64,
    },

    /// The shares of the load are not possible.
    #[error(transparent)]
    Mix(#[from] MixError),

    /// A plan cannot be read or written.
    #[error(transparent)]
    Plan(#[from] PlanFileError),

    /// A report cannot be read.
    #[error("cannot compare {}", path.display())]
    Compare {
        /// The path of the report.
        path: PathBuf,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// The report could not be written.
    #[error("cannot write {}", path.display())]
    ReportFile {
        /// The path of the file.
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

    /// The load has no valid schedule.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),

    /// A fault cannot be carried out.
    #[error(transparent)]
    Script(#[from] ScriptError),

    /// The size of the city is not possible.
    #[error(transparent)]
    Size(#[from] SizeError),

    /// The choices in the city cannot be so unequal.
    #[error(transparent)]
    Skew(#[from] SkewError),

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

    /// Metrics and traces cannot be collected.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
}

//! The options of the servers.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

/// The options of the servers.
#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Servers")]
pub struct ServerOptions {
    /// Number of replicas to start; without any, the primary answers the queries
    #[arg(long, value_name = "N", default_value_t = 2, env = "LIBRARY_REPLICAS")]
    #[arg(value_parser = clap::value_parser!(u16).range(0..=8), conflicts_with = "primary")]
    pub replicas: u16,

    /// Address of the primary, such as postgres://user:password@host:5432/database
    #[arg(long, value_name = "URL", env = "LIBRARY_PRIMARY", hide_env_values = true)]
    #[arg(requires = "replica")]
    #[serde(skip)]
    pub primary: Option<String>,

    /// Address of a replica; may be given several times, and may be that of the primary. The
    /// environment variable contains one address per line
    #[arg(long, value_name = "URL", env = "LIBRARY_REPLICA", hide_env_values = true)]
    #[arg(requires = "primary", value_delimiter = '\n')]
    #[serde(skip)]
    pub replica: Vec<String>,

    /// Name of the log; an existing log is continued
    #[arg(long, value_name = "NAME", default_value = "library", env = "LIBRARY_LOG")]
    pub log: String,

    /// Folder of the PostgreSQL server programs
    #[arg(long, value_name = "DIR", env = "EDDYLINE_PG_BIN")]
    pub pg_bin: Option<PathBuf>,

    /// Answer everything at once without a server, to measure the generator itself
    #[arg(long, conflicts_with_all = ["primary", "at", "sabotage"])]
    pub no_store: bool,

    /// Break the store on purpose, to see that the audit finds it
    #[arg(long, value_enum)]
    pub sabotage: Option<crate::service::Sabotage>,
}

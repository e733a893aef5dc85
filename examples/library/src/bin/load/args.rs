use std::path::PathBuf;

use clap::Parser;

/// Runs a load of library commands and queries on eddyline, reports latencies, and audits the log.
///
/// Without addresses it starts a PostgreSQL primary and streaming replicas in a temporary folder,
/// which is removed at the end. The exit code is 0 if the audit has no findings, 1 if it
/// has some, and 2 if the load could not be run.
#[derive(Clone, Debug, Parser)]
#[command(name = "load", version)]
pub(crate) struct Args {
    /// Duration of the load, in seconds
    #[arg(long, value_name = "N", default_value_t = 20, env = "LIBRARY_SECONDS")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=604_800))]
    pub(crate) seconds: u64,

    /// Number of concurrent clients; each runs one operation at a time
    #[arg(long, value_name = "C", default_value_t = 8, env = "LIBRARY_CLIENTS")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) clients: u32,

    /// Number of books in circulation at the start
    #[arg(long, value_name = "N", default_value_t = 2_000, env = "LIBRARY_BOOKS")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) books: u32,

    /// Number of registered readers at the start
    #[arg(long, value_name = "N", default_value_t = 500, env = "LIBRARY_READERS")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) readers: u32,

    /// Minimum share of queries among the operations, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 0, env = "LIBRARY_QUERIES")]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(crate) queries: u32,

    /// Number of replicas to start; without any, the primary answers the queries
    #[arg(long, value_name = "N", default_value_t = 2, env = "LIBRARY_REPLICAS")]
    #[arg(value_parser = clap::value_parser!(u16).range(0..=8), conflicts_with = "primary")]
    pub(crate) replicas: u16,

    /// Seed of the random choices; the same seed gives the same choices
    #[arg(long, value_name = "N", default_value_t = 1, env = "LIBRARY_SEED")]
    pub(crate) seed: u64,

    /// Address of the primary, such as postgres://user:password@host:5432/database
    #[arg(long, value_name = "URL", env = "LIBRARY_PRIMARY", hide_env_values = true)]
    #[arg(requires = "replica")]
    pub(crate) primary: Option<String>,

    /// Address of a replica; may be given several times, and may be that of the primary. The
    /// environment variable contains one address per line
    #[arg(long, value_name = "URL", env = "LIBRARY_REPLICA", hide_env_values = true)]
    #[arg(requires = "primary", value_delimiter = '\n')]
    pub(crate) replica: Vec<String>,

    /// Name of the log; an existing log is continued
    #[arg(long, value_name = "NAME", default_value = "library", env = "LIBRARY_LOG")]
    pub(crate) log: String,

    /// Folder of the PostgreSQL programs
    #[arg(long, value_name = "DIR", env = "EDDYLINE_PG_BIN")]
    pub(crate) pg_bin: Option<PathBuf>,

    /// File to which the report is written as JSON, in addition to standard output
    #[arg(long, value_name = "FILE", env = "LIBRARY_JSON")]
    pub(crate) json: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_declared_consistently() {
        Args::command().debug_assert();
    }

    #[test]
    fn several_replicas_are_accepted() {
        let args = ["load", "--primary", "a", "--replica", "b", "--replica", "c"];

        assert_eq!(Args::parse_from(args).replica, ["b", "c"]);
    }

    #[test]
    fn an_address_with_spaces_is_one_address() {
        let replica = "host=replica-a port=5432 dbname=library";
        let args = ["load", "--primary", "a", "--replica", replica];

        assert_eq!(Args::parse_from(args).replica, [replica]);
    }
}

use std::path::PathBuf;

use clap::Parser;

/// Runs a public library on eddyline for a while, reports what it measured, and audits the log.
///
/// Without addresses it starts PostgreSQL itself: a primary and two streaming replicas, in a
/// temporary folder that is removed at the end. The exit code is 0 if the audit found nothing, 1
/// if it found something, and 2 if the load could not be run.
#[derive(Clone, Debug, Parser)]
#[command(name = "load", version)]
pub(crate) struct Args {
    /// How long the load lasts, in seconds
    #[arg(long, value_name = "N", default_value_t = 20, env = "LIBRARY_SECONDS")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=604_800))]
    pub(crate) seconds: u64,

    /// How many clients work at the same time, each with one operation at a time
    #[arg(long, value_name = "C", default_value_t = 8, env = "LIBRARY_CLIENTS")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) clients: u32,

    /// How many books are in circulation at the start
    #[arg(long, value_name = "N", default_value_t = 2_000, env = "LIBRARY_BOOKS")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) books: u32,

    /// How many readers are registered at the start
    #[arg(long, value_name = "N", default_value_t = 500, env = "LIBRARY_READERS")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) readers: u32,

    /// Where the random choices begin: the same seed makes the same choices
    #[arg(long, value_name = "N", default_value_t = 1, env = "LIBRARY_SEED")]
    pub(crate) seed: u64,

    /// The primary's address, such as postgres://user:password@host:5432/database
    #[arg(long, value_name = "URL", env = "LIBRARY_PRIMARY", hide_env_values = true)]
    #[arg(requires = "replica")]
    pub(crate) primary: Option<String>,

    /// A replica's address; may be given several times, and may be the primary's. The variable takes
    /// one address a line
    #[arg(long, value_name = "URL", env = "LIBRARY_REPLICA", hide_env_values = true)]
    #[arg(requires = "primary", value_delimiter = '\n')]
    pub(crate) replica: Vec<String>,

    /// The name of the log; one that is not empty is continued
    #[arg(long, value_name = "NAME", default_value = "library", env = "LIBRARY_LOG")]
    pub(crate) log: String,

    /// The folder of PostgreSQL's programs
    #[arg(long, value_name = "DIR", env = "EDDYLINE_PG_BIN")]
    pub(crate) pg_bin: Option<PathBuf>,

    /// Writes the report to a file as well, as JSON
    #[arg(long, value_name = "FILE", env = "LIBRARY_JSON")]
    pub(crate) json: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn are_declared_without_contradiction() {
        Args::command().debug_assert();
    }

    #[test]
    fn take_several_replicas() {
        let args = ["load", "--primary", "a", "--replica", "b", "--replica", "c"];

        assert_eq!(Args::parse_from(args).replica, ["b", "c"]);
    }

    #[test]
    fn take_an_address_with_blanks_as_one() {
        let replica = "host=replica-a port=5432 dbname=library";
        let args = ["load", "--primary", "a", "--replica", replica];

        assert_eq!(Args::parse_from(args).replica, [replica]);
    }
}

//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Holds the metrics of eddyline against independent measurements.
///
/// The program starts a primary and two replicas and Prometheus, runs the library under load, and
/// compares what it exports with the callers' own clocks and counts, with pg_stat_statements, and
/// with what Prometheus returns.
///
/// Exits with 0 if all comparisons hold, 1 if one does not, and 2 if the run failed.
#[derive(Clone, Debug, Parser)]
#[command(name = "truth")]
pub struct Args {
    /// How long each step lasts, in seconds. There are five steps for each number of clients.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// The numbers of clients, one after the other.
    #[arg(long, value_delimiter = ',', default_value = "1,16,128",
          value_parser = clap::value_parser!(u32).range(1..=256))]
    pub clients: Vec<u32>,
    /// Lets only comparisons of counts, names and panels decide the exit code. On a machine that does
    /// other work, times differ by more than their bounds.
    #[arg(long)]
    pub exact: bool,
    /// The folder with PostgreSQL's programs.
    #[arg(long, value_name = "DIR")]
    pub pg_bin: Option<PathBuf>,
}

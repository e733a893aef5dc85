//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::answer::Ask;
use crate::checker::Verdict;

/// Disturbs the replicas of a read-only store while writers append and readers read, then compares
/// each answer with the log and with what had been acknowledged to the writers.
///
/// The program starts its own primary and three streaming standbys in a temporary folder. Standbys
/// are paused, delayed, frozen, killed, restarted, and removed from the store. Twice a standby is
/// promoted; the second time, acknowledged events are lost.
///
/// Exits with 0 if no violation was found, 1 if one was found, 2 if the run failed, and 3 if it
/// proves nothing because some kind of disturbance did not occur or some kind of read was never
/// answered during one.
#[derive(Clone, Debug, Parser)]
#[command(name = "freshness")]
pub struct Args {
    /// How long the disturbances last, in seconds.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    pub seconds: u64,
    /// How long they last at most, in seconds, if some kind of disturbance or read has not occurred
    /// yet.
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    pub at_most: u64,
    /// The number of writers. One of them inserts by plain SQL.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(2..=64))]
    pub writers: u16,
    /// The number of readers. They take turns at the kinds of reads.
    #[arg(long, default_value_t = 12, value_parser = readers)]
    pub readers: u16,
    /// Disables `fsync`, so that commits do not wait for the disk.
    #[arg(long)]
    pub no_fsync: bool,
    /// The folder with PostgreSQL's programs.
    #[arg(long, value_name = "DIR")]
    pub pg_bin: Option<PathBuf>,
    /// The seed of all random choices. Defaults to a random one.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Sabotages the reads. The run ends when the violations that follow are found, and exits with 0
    /// if and only if they are. Use it to test the checker.
    #[arg(long, value_enum, value_name = "HOW")]
    pub sabotage: Option<Sabotage>,
}

/// A way to make reads wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Sabotage {
    /// Readers do not tell the store what they ask for: STALE and BACKWARDS.
    Bounds,
    /// Readers lose an event now and then: TORN.
    Events,
    /// The primary is among the replicas: PRIMARY.
    Primary,
}

impl Sabotage {
    /// Returns whether the violations that follow were found.
    pub fn is_found(self, verdict: &Verdict) -> bool {
        let expected: &[_] = match self {
            Self::Bounds => &["STALE", "BACKWARDS"],
            Self::Events => &["TORN"],
            Self::Primary => &["PRIMARY"],
        };
        let found = verdict.found();
        expected.iter().all(|name| found.contains(name))
    }
}

fn readers(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(readers) if usize::from(readers) >= Ask::ALL.len() => Ok(readers),
        Ok(_) => Err(format!("must be at least {}, one for each kind of read", Ask::ALL.len())),
        Err(_) => Err("not a number".to_owned()),
    }
}

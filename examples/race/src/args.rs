//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::actors::FEWEST_WRITERS;
use crate::message::Isolation;
use crate::protocol::ProtocolName;

/// Races writers and readers against one log, then compares the log with the outcomes and reads
/// that they reported.
///
/// Without addresses it starts its own primary and replica in a temporary folder. On given servers
/// it creates the schema `eddyline_race`, after dropping one that an earlier race left; it changes
/// nothing else.
///
/// Exits with 0 if no violation was found, 1 if one was found, 2 if the race could not be run, and
/// 3 if it proves nothing because some kind of operation did not occur.
#[derive(Clone, Debug, Parser)]
#[command(name = "race", args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The number of writers: read-then-append deciders, callers of `Store::decide`, writers
    /// without conditions, plain SQL inserters, and deciders on private boundaries. In addition one
    /// actor imports, one decides with newly connected stores, and one decides in a log of its own.
    #[arg(long, default_value_t = 8, value_parser = writers)]
    pub writers: usize,
    /// The number of processes that share the writers. With several, random ones are stopped for
    /// a while.
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    pub processes: usize,
    /// How long the writers run, in seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub seconds: u64,
    /// How long the writers run at most, in seconds, if some kind of operation has not occurred
    /// yet.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub at_most: u64,
    /// The number of boundaries that the writers share.
    #[arg(long, default_value_t = 4, value_parser = at_least_one)]
    pub boundaries: usize,
    /// The protocol to test.
    #[arg(long, value_enum, default_value_t = ProtocolName::Eddyline)]
    pub protocol: ProtocolName,
    /// The primary's address. Encryption is not supported.
    #[arg(long, value_name = "URL", conflicts_with = "pg_bin")]
    pub primary: Option<String>,
    /// The replica's address.
    #[arg(long, value_name = "URL", requires = "primary")]
    pub replica: Option<String>,
    /// The folder with PostgreSQL's programs.
    #[arg(long, value_name = "DIR")]
    pub pg_bin: Option<PathBuf>,
    /// The default isolation level of the database, if the race starts its own servers.
    #[arg(long, value_enum, default_value_t = Isolation::ReadCommitted, conflicts_with = "primary")]
    pub isolation: Isolation,
    /// The seed of all random choices. Defaults to a random one.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Also writes the outcome to a file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Exits with 0 if and only if wrong decisions were accepted. Use it to test the checker.
    #[arg(long)]
    pub expect_wrong: bool,
}

/// The subcommands, which are for internal use.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Runs a worker process of a race.
    #[command(hide = true)]
    Worker,
}

fn writers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(writers) if writers >= FEWEST_WRITERS => Ok(writers),
        Ok(_) => Err(format!("must be at least {FEWEST_WRITERS}, one for each role of writer")),
        Err(_) => Err("not a number".to_owned()),
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err("not a number".to_owned()),
    }
}

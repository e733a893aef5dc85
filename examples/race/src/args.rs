//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::actors::FEWEST_WRITERS;
use crate::fact::Isolation;
use crate::protocol::ProtocolName;

/// Races writers and readers against one log, then compares the log with what each of them was
/// told and saw.
///
/// Without addresses it starts a primary and a replica of its own in a temporary folder. On servers
/// that it is given it makes a schema, `eddyline_race`, dropping one that an earlier race left; it
/// touches nothing else.
///
/// Exits with 0 if no fault was found, 1 if one was, 2 if the race could not be held, and 3 if it
/// proves nothing because some kind of work did not occur.
#[derive(Clone, Debug, Parser)]
#[command(name = "race", args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How many writers there are: deciding by themselves, leaving it to the store, unconditional,
    /// inserting, and on boundaries of their own. Beside them one imports, one decides by stores that
    /// have just connected, and one decides in a single_store log of its own.
    #[arg(long, default_value_t = 8, value_parser = writers)]
    pub writers: usize,
    /// How many processes they are spread over. Of several, one after the other is stopped for a while.
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    pub processes: usize,
    /// How long they write, at least.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub seconds: u64,
    /// How long they write at most, in seconds, if some kind of work has not occurred yet.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub at_most: u64,
    /// How many boundaries they share.
    #[arg(long, default_value_t = 4, value_parser = at_least_one)]
    pub boundaries: usize,
    /// The protocol to put to the test.
    #[arg(long, value_enum, default_value_t = ProtocolName::Eddyline)]
    pub protocol: ProtocolName,
    /// The primary's address; encryption is not supported.
    #[arg(long, value_name = "URL", conflicts_with = "pg_bin")]
    pub primary: Option<String>,
    /// The replica's address.
    #[arg(long, value_name = "URL", requires = "primary")]
    pub replica: Option<String>,
    /// The folder of PostgreSQL's programs.
    #[arg(long, value_name = "DIR")]
    pub pg_bin: Option<PathBuf>,
    /// The isolation level that sessions of the store find set, on servers of its own making.
    #[arg(long, value_enum, default_value_t = Isolation::ReadCommitted, conflicts_with = "primary")]
    pub isolation: Isolation,
    /// What the writers' choices come of. Defaults to another one each time.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Also writes the outcome to a file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Exits with 0 if, and only if, wrong decisions were accepted: to test the test.
    #[arg(long)]
    pub expect_wrong: bool,
}

/// What the program runs as, if not by hand.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Takes part in a race that another process holds.
    #[command(hide = true)]
    Worker,
}

fn writers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(writers) if writers >= FEWEST_WRITERS => Ok(writers),
        Ok(_) => Err(format!("every kind of writer takes part, so at least {FEWEST_WRITERS}")),
        Err(_) => Err("not a number".to_owned()),
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err("not a number".to_owned()),
    }
}

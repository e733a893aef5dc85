//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use console::Stop;
use rand::RngExt;

use crate::Campaign;

/// Appends under campaigns (connections cut at every byte, requests that arrive after their sender has
/// gone, killed and frozen servers, exhausted limits), then compares the log with what each caller
/// was told.
///
/// Some of the appends are left to the store to decide: their events are made anew in each round, and
/// after a lost one it goes on under the log's lock.
///
/// It starts a primary of its own in a temporary folder.
///
/// Exits with 0 if nothing was lost, stored twice, torn, or stored although its caller was told that
/// it was not, if less than one append in a thousand ended without its outcome being known, and none
/// while the server could be reached; with 1 if not, 2 if it could not be run, and 3 if some campaign
/// proves nothing because no fault struck.
#[derive(Clone, Debug, Parser)]
#[command(name = "faults")]
pub struct Args {
    /// How many appends there are at least, in all campaigns together.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub appends: u64,
    /// How many writers append at a time.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub writers: u16,
    /// The campaigns to fight; all of them unless some are named.
    #[arg(long = "campaign", value_enum, value_name = "NAME")]
    pub campaigns: Vec<Campaign>,
    /// Leaves the store without a retry policy, so that outcomes stay unknown.
    #[arg(long)]
    pub no_retry: bool,
    /// Exits with 0 if, and only if, nothing is wrong but that too many outcomes are unknown: to see
    /// that the campaigns is real.
    #[arg(long)]
    pub expect_unknown: bool,
    /// Lets commits return before they are on disk.
    #[arg(long)]
    pub no_fsync: bool,
    /// The folder of PostgreSQL's programs.
    #[arg(long, value_name = "DIR")]
    pub pg_bin: Option<PathBuf>,
    /// What the writers' choices and the campaigns's come of. Defaults to another one each time.
    #[arg(long)]
    pub seed: Option<u64>,
}

/// What a run does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The campaigns, one after the other.
    pub campaigns: Vec<Campaign>,
    /// How many appends there are at least, in all of them together.
    pub appends: u64,
    /// How many writers append at a time.
    pub writers: usize,
    /// Whether the store has a retry policy.
    pub retry: bool,
    /// Whether commits wait for the disk.
    pub fsync: bool,
    /// The folder of PostgreSQL's programs, if it is not looked for.
    pub pg_bin: Option<PathBuf>,
    /// What all choices come of.
    pub seed: u64,
    /// Ends the run early. Is set when the campaigns have ended.
    pub stop: Stop,
}

impl Args {
    /// Returns what to do, until a stop is asked for.
    pub fn plan(&self, stop: Stop) -> Plan {
        let campaigns = match self.campaigns.as_slice() {
            [] => Campaign::value_variants(),
            named => named,
        };
        Plan {
            campaigns: campaigns.to_vec(),
            appends: self.appends,
            writers: self.writers.into(),
            retry: !self.no_retry,
            fsync: !self.no_fsync,
            pg_bin: self.pg_bin.clone(),
            seed: self.seed.unwrap_or_else(|| rand::rng().random()),
            stop,
        }
    }
}

impl Plan {
    /// Returns how many appends a campaign has at least: those that go over an append's bytes one
    /// by one have most of them.
    pub(crate) fn share(&self, campaign: Campaign) -> u64 {
        let all: u64 = self.campaigns.iter().map(|campaign| campaign.weight()).sum();
        (self.appends * campaign.weight()).div_ceil(all.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_all_appends() {
        for line in ["faults", "faults --appends 7", "faults --campaign cut --campaign freeze"] {
            let args = Args::parse_from(line.split(' '));
            let plan = args.plan(Stop::default());
            let shares = plan.campaigns.iter().map(|&campaign| plan.share(campaign));

            assert!(shares.sum::<u64>() >= args.appends, "{line}");
        }
    }
}

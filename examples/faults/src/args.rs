//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use console::Stop;
use rand::RngExt;

use crate::Campaign;

/// Injects faults while writers append (connections cut at every byte, requests that arrive long
/// after their sender gave up, killed and frozen servers, exhausted limits), then compares the log
/// with the outcomes that were reported to the callers.
///
/// Some appends use `Store::decide`: each attempt has new events, and after a conflict the decision
/// takes the log's lock.
///
/// The program starts its own primary in a temporary folder.
///
/// Exits with 0 if no append was lost, stored twice, torn, or stored although it was reported as
/// not stored, and if less than one append in a thousand ended with an unknown outcome, and none
/// while the server was reachable. Exits with 1 otherwise, with 2 if the run failed, and with 3 if
/// it proves nothing because no fault took effect in some campaign.
#[derive(Clone, Debug, Parser)]
#[command(name = "faults")]
pub struct Args {
    /// The minimum number of appends, for all campaigns together.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub appends: u64,
    /// The number of concurrent writers.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub writers: u16,
    /// A campaign to run; may be repeated. Defaults to all campaigns.
    #[arg(long = "campaign", value_enum, value_name = "NAME")]
    pub campaigns: Vec<Campaign>,
    /// Disables the store's retries, so that outcomes stay unknown.
    #[arg(long)]
    pub no_retry: bool,
    /// Exits with 0 if and only if the log is consistent but too many outcomes are unknown. Use it
    /// to check that the faults take effect.
    #[arg(long)]
    pub expect_unknown: bool,
    /// Disables `fsync`, so that commits do not wait for the disk.
    #[arg(long)]
    pub no_fsync: bool,
    /// The folder with PostgreSQL's programs.
    #[arg(long, value_name = "DIR")]
    pub pg_bin: Option<PathBuf>,
    /// The seed of all random choices. Defaults to a random one.
    #[arg(long)]
    pub seed: Option<u64>,
}

/// The parameters of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The campaigns, one after the other.
    pub campaigns: Vec<Campaign>,
    /// The minimum number of appends, for all campaigns together.
    pub appends: u64,
    /// The number of concurrent writers.
    pub writers: usize,
    /// Whether the store has a retry policy.
    pub retry: bool,
    /// Whether commits wait for the disk.
    pub fsync: bool,
    /// The folder with PostgreSQL's programs. If there is none, the program searches for them.
    pub pg_bin: Option<PathBuf>,
    /// The seed of all random choices.
    pub seed: u64,
    /// Ends the run early. It is set when the last campaign has ended.
    pub stop: Stop,
}

impl Args {
    /// Returns the parameters of a run that ends early when `stop` is set.
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
    /// Returns the minimum number of appends of a campaign. Campaigns that inject a fault at every
    /// byte of an append have the largest shares.
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

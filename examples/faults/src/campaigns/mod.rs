//! The campaigns: each injects one kind of fault.

mod anywhere;
mod exchange;
mod layout;
mod limits;
mod locked;
mod network;
mod processes;
mod standby;
mod sweep;
mod writers;

use std::fmt;

use clap::ValueEnum;

use crate::Failure;
use crate::testbed::Testbed;

/// A campaign of a run.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, ValueEnum)]
pub enum Campaign {
    /// Cuts the connection after each byte of an append's exchange, in both directions and for each
    /// layout of the request: alone or in a batch, validated by the store or by the server.
    Cut,
    /// Holds back the bytes after each byte of the exchange. Those for the server are delivered
    /// after the caller has been answered or has given up.
    Stall,
    /// Delivers a part of the exchange. After a pause the connection is cut, or the rest is
    /// delivered.
    Half,
    /// Loses or delays the bytes after each byte of a decision under the log's lock. Those for the
    /// server may be delivered after the caller has been answered.
    Locked,
    /// Injects random faults at random bytes of any connection, including its setup, while callers
    /// abandon appends.
    Anywhere,
    /// Kills a backend with SIGKILL, which makes the server restart its processes and recover.
    Kill,
    /// Terminates a backend with `pg_terminate_backend`.
    Terminate,
    /// Stops the primary in immediate mode, and starts it again.
    Restart,
    /// Exhausts the connection slots with other clients.
    Slots,
    /// Holds the log's lock for longer than the lock timeout and the statement timeout.
    Timeouts,
    /// Stops the server and all of its backends for a while, then resumes them.
    Freeze,
    /// Passes no byte on any connection for a while, in either direction, and closes none.
    Silence,
    /// Passes bytes slowly, in one direction or both, at changing rates.
    Slow,
    /// Stops a synchronous standby while appends wait for it, and starts it again. Finally stops it
    /// once more, stops the primary permanently, and promotes the standby.
    Standby,
}

impl Campaign {
    /// Returns its weight in the distribution of the appends. With sixty thousand appends, the
    /// campaigns that inject at every byte of an exchange reach each byte.
    pub(crate) fn weight(self) -> u64 {
        match self {
            Self::Cut | Self::Half | Self::Stall => 5,
            Self::Locked => 4,
            Self::Anywhere => 3,
            _ => 1,
        }
    }
}

impl fmt::Display for Campaign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.pad(value.as_ref().map_or("", |value| value.get_name()))
    }
}

/// Runs a campaign. It has dropped its stores when this returns.
pub async fn run(testbed: &Testbed, campaign: Campaign) -> Result<(), Failure> {
    match campaign {
        Campaign::Anywhere => anywhere::run(testbed).await,
        Campaign::Cut | Campaign::Half | Campaign::Stall => sweep::run(testbed, campaign).await,
        Campaign::Freeze => processes::freeze(testbed).await,
        Campaign::Kill => processes::kill(testbed).await,
        Campaign::Locked => locked::run(testbed).await,
        Campaign::Restart => processes::restart(testbed).await,
        Campaign::Silence => network::silence(testbed).await,
        Campaign::Slow => network::slow(testbed).await,
        Campaign::Standby => standby::run(testbed).await,
        Campaign::Slots => limits::slots(testbed).await,
        Campaign::Terminate => processes::terminate(testbed).await,
        Campaign::Timeouts => limits::timeouts(testbed).await,
    }
}

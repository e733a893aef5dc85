//! The disturbances of the servers.

mod failover;
mod standby;

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::IteratorRandom;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep};

use crate::args::Args;
use crate::failure::Failure;
use crate::run::Run;

/// A kind of disturbance.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Disturbance {
    /// A standby replays nothing for a while.
    Paused,
    /// A standby replays each commit a while after its primary.
    Delayed,
    /// All processes of a standby are stopped for a while.
    Frozen,
    /// A standby is killed, and started after a while.
    Killed,
    /// A standby is shut down and started.
    Restarted,
    /// A standby is removed from the stores for a while.
    Removed,
    /// The answers of the primary arrive slowly at the read-only stores that know it.
    Slowed,
    /// A standby is promoted after the primary was shut down. The others follow it, also the old
    /// primary.
    Promoted,
    /// A standby that lacks acknowledged events is promoted after the primary has ended. One
    /// standby follows it, and another one has events that are lost. Then the old primary is
    /// started, does not know of the promotion, and is alone for a moment.
    FailedOver,
}

impl Disturbance {
    pub const ALL: [Self; 9] = [
        Self::Paused,
        Self::Delayed,
        Self::Frozen,
        Self::Killed,
        Self::Restarted,
        Self::Removed,
        Self::Slowed,
        Self::Promoted,
        Self::FailedOver,
    ];

    /// Returns whether the servers change their roles.
    fn is_promotion(self) -> bool {
        matches!(self, Self::Promoted | Self::FailedOver)
    }
}

impl fmt::Display for Disturbance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Paused => "paused",
            Self::Delayed => "delayed",
            Self::Frozen => "frozen",
            Self::Killed => "killed",
            Self::Restarted => "restarted",
            Self::Removed => "removed",
            Self::Slowed => "slowed",
            Self::Promoted => "promoted",
            Self::FailedOver => "failed over",
        })
    }
}

/// Disturbs the servers until the time is over and every kind has occurred, or the longest time is
/// over, or a stop is requested. All servers run when this returns.
pub async fn run(run: &Run, args: &Args) -> Result<(), Failure> {
    let started = Instant::now();
    let shortest = Duration::from_secs(args.seconds);
    let longest = shortest.max(Duration::from_secs(args.at_most));
    let is_over = |time| run.stop.is_set() || started.elapsed() >= time;
    run.record.wait_for_appends(1).await?;
    disturb_standbys(run, &|| is_over(shortest / 3)).await?;
    if !run.stop.is_set() {
        failover::switch_over(run, &|| is_over(longest)).await?;
    }
    disturb_standbys(run, &|| is_over(shortest * 2 / 3)).await?;
    if !run.stop.is_set() {
        failover::fail_over(run, &|| is_over(longest)).await?;
    }
    let is_complete = || run.record.tally(|tally| tally.absent().is_empty());
    disturb_standbys(run, &|| is_over(longest) || is_over(shortest) && is_complete()).await
}

/// Disturbs random standbys until `is_over`, several at the same time.
async fn disturb_standbys(run: &Run, is_over: &impl Fn() -> bool) -> Result<(), Failure> {
    let free = Mutex::new(run.testbed.roles().replicas);
    let lock = || free.lock().unwrap_or_else(PoisonError::into_inner);
    let disturb = async |mut random: SmallRng| {
        while !is_over() {
            sleep(LONGEST_REST.mul_f64(random.random())).await;
            let chosen = lock().pop();
            let Some(standby) = chosen else { continue };
            let disturbance = next(run, &mut random);
            standby::disturb(run, disturbance, standby, &mut random).await?;
            lock().insert(0, standby);
        }
        Ok::<_, Failure>(())
    };
    let mut seeds = SmallRng::seed_from_u64(run.seed);
    let [first, second, third] = std::array::from_fn(|_| SmallRng::seed_from_u64(seeds.random()));
    tokio::try_join!(disturb(first), disturb(second), disturb(third))?;
    Ok(())
}

/// Returns a random kind of disturbance of a standby, preferably one that has not occurred yet.
fn next(run: &Run, random: &mut SmallRng) -> Disturbance {
    let kinds = || Disturbance::ALL.into_iter().filter(|it| !it.is_promotion());
    let new = kinds().filter(|it| !run.record.has_begun(*it)).choose(random);
    new.or(kinds().choose(random)).expect("there are kinds")
}

const LONGEST_REST: Duration = Duration::from_millis(600);

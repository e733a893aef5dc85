//! Begins each intention at its time.

mod closed;
mod limit;
mod open;
mod queue;
mod round;
mod search;
#[cfg(test)]
mod tests;
mod workers;

use std::sync::Arc;
use std::time::{Duration, Instant};

use console::Stop;

use crate::plan::Intention;
use crate::tally::Tally;

pub use self::limit::{Limit, LimitRound, LimitStep};
pub use self::search::LimitSettings;

/// A way to carry out intentions.
pub trait Executor: Clone + Send + Sync + 'static {
    /// Carries out an intention that was to begin at a time. Counts and records what came of it.
    fn execute(&self, intention: Intention, intended: Instant) -> impl Future<Output = ()> + Send;
}

/// The clients that carry out intentions.
///
/// Clients are tasks, and each carries out one intention at a time. Any client takes any intention,
/// but the steps of a visit run one after the other and in order. A step that comes while an
/// earlier step of its visit is running waits. The client that ends the earlier step goes on with
/// it.
#[derive(Clone, Debug)]
pub struct Engine<C> {
    /// The way to carry out the intentions. It counts in the tally of the engine.
    pub executor: C,
    /// The number of clients.
    pub clients: u32,
    /// How long the engine waits, after the last intention has become due, for those that have not
    /// begun.
    pub drain: Duration,
    /// Whether the open loop waits more exactly than with the timer of tokio, which is up to two
    /// milliseconds late. Must be `false` if the clock of tokio is paused.
    pub is_exact: bool,
    /// The tally. The engine counts what is due.
    pub tally: Arc<Tally>,
    /// The request to end early.
    pub stop: Stop,
}

/// How a load ended.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Ending {
    /// The operations whose intended time came.
    pub due: u64,
    /// The operations that were due and have not begun, because the clients were too slow.
    pub not_begun: u64,
    /// Whether the load ended early because of a request.
    pub is_stopped: bool,
    /// The time from the start until the last operation had ended.
    pub took: Duration,
}

impl<C: Executor> Engine<C> {
    /// Creates an exact engine that waits 30 seconds for intentions that have not begun.
    pub fn new(executor: C, clients: u32, tally: Arc<Tally>, stop: Stop) -> Self {
        Self { executor, clients, drain: DRAIN, is_exact: true, tally, stop }
    }
}

const DRAIN: Duration = Duration::from_secs(30);
/// How often a request to end early is looked for.
const STOP_INTERVAL: Duration = Duration::from_millis(50);

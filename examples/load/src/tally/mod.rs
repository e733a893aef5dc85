//! All counts and latencies of a load, updated as operations end.

mod counts;
mod lap;
mod recent;
mod settings;
mod snapshot;
#[cfg(test)]
mod tests;
mod times;
mod windows;

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use self::counts::Counts;
use crate::clock;
use crate::plan::Group;

pub use self::counts::Totals;
pub use self::lap::Lap;
pub use self::recent::Second;
pub use self::settings::TallySettings;
pub use self::snapshot::{Distribution, Latencies, OperationFigures, Outcomes, Snapshot, Window};

/// How an operation ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// A command stored its event, or a query was answered.
    Success,
    /// The command had nothing to change.
    Idempotent,
    /// The rules forbade the command.
    Rejected,
    /// The last attempt of the command ended with a conflict.
    Conflict,
    /// The operation failed.
    Error,
}

/// An operation that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The name of the command or query.
    pub operation: &'static str,
    /// The group that it belongs to.
    pub group: Group,
    /// How it ended.
    pub status: Status,
    /// When it was to begin.
    pub intended: Instant,
    /// When it began.
    pub began: Instant,
    /// When it ended.
    pub ended: Instant,
    /// The events on which a command was decided.
    pub events_read: u64,
    /// The attempts that ended with a conflict.
    pub lost_rounds: u32,
    /// The attempts that ended with a transient error and were repeated.
    pub retries: u32,
    /// Whether the decision was made under the log's lock.
    pub is_escalated: bool,
    /// The server that answered a query.
    pub served_by: Option<String>,
    /// The text of the error.
    pub error: Option<String>,
}

impl Ended {
    /// Returns an operation that took one attempt, was decided on no events and had no error.
    pub fn new(
        operation: &'static str,
        group: Group,
        status: Status,
        intended: Instant,
        began: Instant,
        ended: Instant,
    ) -> Self {
        Self {
            operation,
            group,
            status,
            intended,
            began,
            ended,
            events_read: 0,
            lost_rounds: 0,
            retries: 0,
            is_escalated: false,
            served_by: None,
            error: None,
        }
    }
}

/// The counts and latencies of a load. Clients share it.
pub struct Tally {
    settings: TallySettings,
    counts: Mutex<Counts>,
}

impl Tally {
    /// Creates an empty tally.
    pub fn new(settings: TallySettings) -> Self {
        Self { settings, counts: Mutex::new(Counts::new(settings.window)) }
    }

    /// Returns how the tally counts.
    pub fn settings(&self) -> TallySettings {
        self.settings
    }

    /// Counts operations whose intended time has come.
    pub fn due(&self, intended: Instant, operations: u64) {
        self.counts().due(self.since_start(intended), operations);
    }

    /// Counts an operation that begins now.
    pub fn began(&self, intended: Instant) {
        let now = clock::now();
        let is_late = now.saturating_duration_since(intended) > self.settings.late_after;
        self.counts().began(self.since_start(now), is_late);
    }

    /// Counts an operation that has begun, and for which the city had no suitable reader or book.
    /// It does not end.
    pub fn impossible(&self) {
        self.counts().impossible(self.since_start(clock::now()));
    }

    /// Counts an operation that has ended.
    pub fn ended(&self, ended: &Ended) {
        self.counts().ended(self.since_start(ended.ended), ended);
    }

    /// Returns the counts and latencies so far.
    pub fn snapshot(&self) -> Snapshot {
        self.counts_now().snapshot()
    }

    /// Returns the counts so far and the last seconds. This is cheaper than a snapshot.
    pub fn totals(&self) -> Totals {
        self.counts_now().totals()
    }

    /// Returns the complete seconds of the last five minutes, the newest one last. With `after`,
    /// those that began later than this second of the load.
    pub fn seconds(&self, after: Option<u64>) -> Vec<Second> {
        self.counts_now().seconds(after)
    }

    /// Returns the counts since the last call, or since the start of the load.
    pub fn lap(&self) -> Lap {
        self.counts_now().lap()
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the counts after all windows that have ended are closed.
    fn counts_now(&self) -> MutexGuard<'_, Counts> {
        let now = self.since_start(clock::now());
        let mut counts = self.counts();
        counts.advance(now);
        counts
    }

    fn since_start(&self, time: Instant) -> Duration {
        time.saturating_duration_since(self.settings.start)
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self::new(TallySettings::default())
    }
}

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tally").field("settings", &self.settings).finish_non_exhaustive()
    }
}

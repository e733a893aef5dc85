use std::collections::BTreeMap;
use std::time::Duration;

use super::lap::{CurrentLap, Lap};
use super::recent::{Recent, Second};
use super::times::Times;
use super::windows::Windows;
use super::{Ended, Latencies, OperationFigures, Outcomes, Snapshot, Status};
use crate::plan::Group;

/// The counts and latencies of a load. Times are since the start of the load.
pub struct Counts {
    due: u64,
    begun: u64,
    late: u64,
    impossible: u64,
    operations: BTreeMap<&'static str, OperationCounts>,
    events_read: u64,
    lost_rounds: u64,
    commands_with_lost_rounds: u64,
    retries: u64,
    escalations: u64,
    reads_by_server: BTreeMap<String, u64>,
    errors: BTreeMap<String, u64>,
    windows: Windows,
    recent: Recent,
    lap: CurrentLap,
}

/// The counts of a load so far, and its last seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Totals {
    /// The time since the start of the load.
    pub elapsed: Duration,
    /// The operations whose intended time has come.
    pub due: u64,
    /// The operations that have begun.
    pub begun: u64,
    /// The operations that began later than allowed after their intended time.
    pub late: u64,
    /// How the operations ended.
    pub outcomes: Outcomes,
    /// The rounds that decisions lost because another append was first.
    pub lost_rounds: u64,
    /// The last complete seconds, at most 30, the newest one last.
    pub recent: Vec<Second>,
}

/// One command or query.
struct OperationCounts {
    group: Group,
    outcomes: Outcomes,
    latencies: LatencyTimes,
}

/// The latencies of operations, measured in two ways.
#[derive(Default)]
struct LatencyTimes {
    latency: Times,
    service: Times,
}

impl Counts {
    /// Creates empty counts with windows of this length.
    pub fn new(window: Duration) -> Self {
        Self {
            due: 0,
            begun: 0,
            late: 0,
            impossible: 0,
            operations: BTreeMap::new(),
            events_read: 0,
            lost_rounds: 0,
            commands_with_lost_rounds: 0,
            retries: 0,
            escalations: 0,
            reads_by_server: BTreeMap::new(),
            errors: BTreeMap::new(),
            windows: Windows::new(window),
            recent: Recent::default(),
            lap: CurrentLap::default(),
        }
    }

    /// Closes the windows that ended before or at a time.
    pub fn advance(&mut self, time: Duration) {
        self.windows.advance(time);
        self.recent.advance(time);
    }

    /// Counts operations whose intended time has come.
    pub fn due(&mut self, intended: Duration, operations: u64) {
        self.due += operations;
        self.windows.due(intended, operations);
        self.recent.due(operations);
        self.lap.due(operations);
    }

    /// Counts an operation that begins.
    pub fn began(&mut self, now: Duration, is_late: bool) {
        self.advance(now);
        self.begun += 1;
        if is_late {
            self.late += 1;
            self.windows.late();
            self.recent.late();
        }
    }

    /// Counts an operation that could not be carried out.
    pub fn impossible(&mut self, now: Duration) {
        self.advance(now);
        self.impossible += 1;
        self.windows.impossible();
        self.recent.impossible();
        self.lap.impossible();
    }

    /// Counts an operation that has ended.
    pub fn ended(&mut self, time: Duration, ended: &Ended) {
        self.advance(time);
        self.windows.ended(ended);
        self.recent.ended(ended);
        self.lap.ended(ended);
        let operation = self.operations.entry(ended.operation).or_insert_with(|| OperationCounts {
            group: ended.group,
            outcomes: Outcomes::default(),
            latencies: LatencyTimes::default(),
        });
        operation.outcomes.add(ended.status);
        operation.latencies.add(ended);
        self.events_read += ended.events_read;
        self.lost_rounds += u64::from(ended.lost_rounds);
        let is_answered = ended.status != Status::Error;
        self.commands_with_lost_rounds += u64::from(is_answered && ended.lost_rounds > 0);
        self.retries += u64::from(ended.retries);
        self.escalations += u64::from(ended.is_escalated);
        if let Some(server) = &ended.served_by {
            count(&mut self.reads_by_server, server);
        }
        if let Some(error) = &ended.error {
            self.count_error(error);
        }
    }

    /// Ends the current lap and begins the next one.
    pub fn lap(&mut self) -> Lap {
        self.lap.end()
    }

    /// Returns the counts so far and the last seconds.
    pub fn totals(&self) -> Totals {
        Totals {
            elapsed: self.windows.clock(),
            due: self.due,
            begun: self.begun,
            late: self.late,
            outcomes: self.outcomes(),
            lost_rounds: self.lost_rounds,
            recent: self.recent.last(SECONDS_OF_TOTALS),
        }
    }

    /// Returns the complete seconds of the last minutes that began after another one.
    pub fn seconds(&self, after: Option<u64>) -> Vec<Second> {
        self.recent.after(after)
    }

    /// Returns all counts and latencies.
    pub fn snapshot(&self) -> Snapshot {
        let operations = self.operations.iter();
        Snapshot {
            seconds: self.windows.clock().as_secs_f64(),
            due: self.due,
            begun: self.begun,
            ended: self.outcomes().total(),
            late: self.late,
            impossible: self.impossible,
            operations: operations
                .map(|(&name, counts)| (name.to_owned(), counts.figures()))
                .collect(),
            commands: self.latencies(|group| group != Group::Queries),
            queries: self.latencies(|group| group == Group::Queries),
            events_read: self.events_read,
            lost_rounds: self.lost_rounds,
            commands_with_lost_rounds: self.commands_with_lost_rounds,
            retries: self.retries,
            escalations: self.escalations,
            reads_by_server: self.reads_by_server.clone(),
            errors: self.errors.clone(),
            windows: self.windows.all(),
        }
    }

    fn outcomes(&self) -> Outcomes {
        let mut all = Outcomes::default();
        self.operations.values().for_each(|counts| all.merge(counts.outcomes));
        all
    }

    /// Returns the latencies of all operations of some groups.
    fn latencies(&self, is_included: impl Fn(Group) -> bool) -> Latencies {
        let mut all = LatencyTimes::default();
        for counts in self.operations.values().filter(|counts| is_included(counts.group)) {
            all.merge(&counts.latencies);
        }
        all.figures()
    }

    fn count_error(&mut self, text: &str) {
        let is_known = self.errors.contains_key(text);
        if is_known || self.errors.len() < MAX_ERRORS {
            count(&mut self.errors, text);
        }
    }
}

impl OperationCounts {
    fn figures(&self) -> OperationFigures {
        OperationFigures {
            group: self.group,
            outcomes: self.outcomes,
            latencies: self.latencies.figures(),
        }
    }
}

impl LatencyTimes {
    fn add(&mut self, ended: &Ended) {
        self.latency.add(ended.ended.saturating_duration_since(ended.intended));
        self.service.add(ended.ended.saturating_duration_since(ended.began));
    }

    fn merge(&mut self, other: &Self) {
        self.latency.merge(&other.latency);
        self.service.merge(&other.service);
    }

    fn figures(&self) -> Latencies {
        Latencies { latency: self.latency.distribution(), service: self.service.distribution() }
    }
}

/// Adds one to the count of a name.
pub fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => {
            counts.insert(name.to_owned(), 1);
        }
    }
}

/// The maximum number of different error texts.
const MAX_ERRORS: usize = 10;
/// The number of seconds in [`Totals::recent`].
const SECONDS_OF_TOTALS: usize = 30;

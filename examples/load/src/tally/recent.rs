use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::Serialize;

use super::counts::count;
use super::times::Times;
use super::{Distribution, Ended, Outcomes};
use crate::plan::Group;

/// The last minutes of a load, in seconds.
#[derive(Default)]
pub struct Recent {
    closed: VecDeque<Second>,
    open: Second,
    commands: Times,
    queries: Times,
    /// The operations that are due and have not ended.
    waiting: u64,
}

/// A second of a load. Latencies are from the intended start, in milliseconds, and have no curve.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Second {
    /// When it began, in seconds since the start of the load.
    pub at: u64,
    /// The operations that were counted as due in it.
    pub due: u64,
    /// The operations that began in it, later than allowed.
    pub late: u64,
    /// The operations that were due and had not ended at its end.
    pub waiting: u64,
    /// The operations that ended in it, by name.
    pub operations: BTreeMap<&'static str, Outcomes>,
    /// The latencies of the commands that ended in it.
    pub commands: Distribution,
    /// The latencies of the queries that ended in it.
    pub queries: Distribution,
    /// The events on which commands were decided.
    pub events_read: u64,
    /// The rounds that decisions lost.
    pub lost_rounds: u64,
    /// The decisions made under the log's lock.
    pub escalations: u64,
    /// The attempts that were repeated after a transient error.
    pub retries: u64,
    /// The answers to queries, by the server that gave them.
    pub reads_by_server: BTreeMap<String, u64>,
}

impl Recent {
    /// Closes the seconds that ended before or at a time.
    pub fn advance(&mut self, time: Duration) {
        let oldest = time.as_secs().saturating_sub(SECONDS as u64);
        if self.open.at < oldest {
            let open = Second { at: oldest, ..Second::default() };
            *self = Self { open, waiting: self.waiting, ..Self::default() };
        }
        while self.open.at < time.as_secs() {
            let next = Second { at: self.open.at + 1, ..Second::default() };
            let closed = Second {
                waiting: self.waiting,
                commands: self.commands.figures(),
                queries: self.queries.figures(),
                ..std::mem::replace(&mut self.open, next)
            };
            self.closed.push_back(closed);
            if self.closed.len() > SECONDS {
                self.closed.pop_front();
            }
            self.commands.clear();
            self.queries.clear();
        }
    }

    /// Counts operations whose intended time has come.
    pub fn due(&mut self, operations: u64) {
        self.open.due += operations;
        self.waiting += operations;
    }

    /// Counts an operation that began too late.
    pub fn late(&mut self) {
        self.open.late += 1;
    }

    /// Counts an operation that could not be carried out.
    pub fn impossible(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// Counts an operation that has ended.
    pub fn ended(&mut self, ended: &Ended) {
        let latency = ended.ended.saturating_duration_since(ended.intended);
        match ended.group {
            Group::Queries => self.queries.add(latency),
            Group::Circulation | Group::Lending | Group::Readers => self.commands.add(latency),
        }
        self.waiting = self.waiting.saturating_sub(1);
        let second = &mut self.open;
        second.operations.entry(ended.operation).or_default().add(ended.status);
        second.events_read += ended.events_read;
        second.lost_rounds += u64::from(ended.lost_rounds);
        second.escalations += u64::from(ended.is_escalated);
        second.retries += u64::from(ended.retries);
        if let Some(server) = &ended.served_by {
            count(&mut second.reads_by_server, server);
        }
    }

    /// Returns the last complete seconds, at most this number, the newest one last.
    pub fn last(&self, number: usize) -> Vec<Second> {
        self.closed.iter().skip(self.closed.len().saturating_sub(number)).cloned().collect()
    }

    /// Returns the complete seconds that began after another one, or all that are kept.
    pub fn after(&self, second: Option<u64>) -> Vec<Second> {
        let is_later = |one: &&Second| second.is_none_or(|second| one.at > second);
        self.closed.iter().filter(is_later).cloned().collect()
    }
}

impl Second {
    /// Returns the number of operations that ended in it.
    pub fn ended(&self) -> u64 {
        self.operations.values().map(Outcomes::total).sum()
    }

    /// Returns the 99th percentile of the latency of the commands, in milliseconds. `None` if no
    /// command ended.
    pub fn p99(&self) -> Option<f64> {
        (self.commands.count > 0).then_some(self.commands.p99)
    }
}

/// The number of seconds that are kept.
const SECONDS: usize = 300;

use super::times::Times;
use super::{Distribution, Ended, Status};
use crate::plan::Group;

/// The counts between two calls of [`Tally::lap`](super::Tally::lap), like a lap of a stopwatch.
/// The search for the highest rate takes one for each rate that it tries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lap {
    /// The operations whose intended time came.
    pub due: u64,
    /// The operations that ended, and those for which the city had no suitable reader or book.
    pub done: u64,
    /// The operations that failed.
    pub errors: u64,
    /// The commands that ended, from their intended start. Has no curve.
    pub latency: Distribution,
}

/// The counts since the last lap.
#[derive(Default)]
pub struct CurrentLap {
    lap: Lap,
    latency: Times,
}

impl CurrentLap {
    /// Counts operations whose intended time has come.
    pub fn due(&mut self, operations: u64) {
        self.lap.due += operations;
    }

    /// Counts an operation that could not be carried out.
    pub fn impossible(&mut self) {
        self.lap.done += 1;
    }

    /// Counts an operation that has ended.
    pub fn ended(&mut self, ended: &Ended) {
        self.lap.done += 1;
        self.lap.errors += u64::from(ended.status == Status::Error);
        if ended.group != Group::Queries {
            self.latency.add(ended.ended.saturating_duration_since(ended.intended));
        }
    }

    /// Ends the lap and begins the next one.
    pub fn end(&mut self) -> Lap {
        let lap = Lap { latency: self.latency.figures(), ..std::mem::take(&mut self.lap) };
        self.latency.clear();
        lap
    }
}

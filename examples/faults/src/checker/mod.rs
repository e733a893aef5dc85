//! The history checker: compares the final log with the outcomes that were reported to the callers.
//!
//! It shares no code with the store.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use console::Violations;
use tokio::time::Instant;
use uuid::Uuid;

use crate::Campaign;

/// An event of a final log. No two logs have an event in common.
#[derive(Clone, Debug)]
pub struct Entry {
    pub position: u64,
    pub id: Uuid,
}

/// An append, or an attempt of a decision, with its reported outcome.
#[derive(Clone, Debug)]
pub struct Operation {
    pub campaign: Campaign,
    /// The ids of its events, in order.
    pub ids: Vec<Uuid>,
    pub outcome: Outcome,
}

/// The outcome of an operation, as the store reported it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The events are in the log, at positions from `first` to `last`.
    Accepted { first: u64, last: u64 },
    /// No outcome: the caller did not wait for the answer.
    Abandoned,
    /// The events were not stored, and never will be.
    Refused { class: &'static str },
    /// The answer is about another attempt of the same decision: the events of this one were not
    /// stored, and never will be.
    Superseded,
    /// The events may have been stored.
    Unknown { started: Instant },
}

/// The input of the checker.
#[derive(Debug, Default)]
pub struct Observations {
    pub operations: Vec<Operation>,
    /// The times during which the server was not reachable.
    pub outages: Vec<(Instant, Instant)>,
}

impl Observations {
    /// Adds the outcome of a decision with all its attempts, each of which had events of its own.
    /// An append has one attempt. The answer is about the last attempt, or about the one whose
    /// events it names; the events of the others were not stored.
    pub fn add(
        &mut self,
        campaign: Campaign,
        mut attempts: Vec<Vec<Uuid>>,
        named: Option<&[Uuid]>,
        outcome: Outcome,
    ) {
        let answered = match named {
            Some(ids) => attempts.iter().position(|attempt| attempt == ids),
            None => attempts.len().checked_sub(1),
        };
        let ids = answered.map(|attempt| attempts.remove(attempt)).unwrap_or_default();
        self.operations.push(Operation { campaign, ids, outcome });
        let others = attempts.into_iter();
        self.operations.extend(others.map(|ids| Operation {
            campaign,
            ids,
            outcome: Outcome::Superseded,
        }));
    }
}

/// The result of the check.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Events that were accepted but are not in the log, or are at other positions than reported.
    pub lost: Violations,
    /// Events in the log that were reported as not stored, and unknown outcomes of events that no
    /// caller appended.
    pub ghosts: Violations,
    /// Further copies of events in the log.
    pub twice: Violations,
    /// Appends with only a part of their events in the log.
    pub torn: Violations,
    /// Appends with an unknown outcome although the server was reachable.
    pub unknown_while_reachable: Violations,
    /// Appends with an unknown outcome.
    pub unknown: u64,
    /// Appends whose callers waited for the answer.
    pub answered: u64,
}

impl Verdict {
    /// Returns every kind of violation with its name.
    pub fn all(&self) -> [(&'static str, &Violations); 5] {
        [
            ("LOST", &self.lost),
            ("GHOST", &self.ghosts),
            ("TWICE", &self.twice),
            ("TORN", &self.torn),
            ("UNKNOWN WHILE REACHABLE", &self.unknown_while_reachable),
        ]
    }

    /// Returns whether the log is consistent with the reported outcomes.
    pub fn is_consistent(&self) -> bool {
        let faults = [&self.lost, &self.ghosts, &self.twice, &self.torn];
        faults.iter().all(|faults| faults.count == 0)
    }

    /// Returns whether enough outcomes are known: all but less than one in a thousand, and all for
    /// which the server was reachable.
    pub fn outcomes_are_known(&self) -> bool {
        self.unknown_while_reachable.count == 0 && self.unknown * 1_000 < self.answered.max(1)
    }
}

/// Checks the logs.
pub fn check(log: &[Entry], observations: &Observations) -> Verdict {
    let positions = Positions::of(log);
    let mut verdict = Verdict::default();
    for operation in &observations.operations {
        verdict.check_presence(operation, &positions);
        match operation.outcome {
            Outcome::Unknown { started } => {
                verdict.unknown += 1;
                verdict.answered += 1;
                verdict.check_unknown(operation, started, &observations.outages);
            }
            Outcome::Abandoned | Outcome::Superseded => {}
            Outcome::Accepted { .. } | Outcome::Refused { .. } => verdict.answered += 1,
        }
    }
    let known: HashSet<Uuid> = observations
        .operations
        .iter()
        .flat_map(|operation| operation.ids.iter().copied())
        .collect();
    for entry in log.iter().filter(|entry| !known.contains(&entry.id)) {
        let example = || format!("no caller appended the event at {}", entry.position);
        verdict.ghosts.add(example);
    }
    verdict
}

impl Verdict {
    fn check_presence(&mut self, operation: &Operation, positions: &Positions) {
        let Operation { campaign, ids, outcome } = operation;
        let found: Vec<&[u64]> = ids.iter().map(|id| positions.of_event(id)).collect();
        let present = found.iter().filter(|found| !found.is_empty()).count();
        for found in &found {
            for repeated in found.iter().skip(1) {
                let example = || format!("{repeated} repeats the event at {}", found[0]);
                self.twice.add(of(*campaign, example));
            }
        }
        if present > 0 && present < ids.len() {
            let example = || format!("{present} of {} events are in the log", ids.len());
            self.torn.add(of(*campaign, example));
        }
        match *outcome {
            Outcome::Accepted { first, last } => {
                for _ in present..ids.len() {
                    let example =
                        || format!("an event of the append at {first} to {last} is missing");
                    self.lost.add(of(*campaign, example));
                }
                let found: Vec<u64> = found.iter().filter_map(|one| one.first().copied()).collect();
                let as_reported = found.first() == Some(&first) && found.last() == Some(&last);
                if present == ids.len() && !(as_reported && found.is_sorted()) {
                    let example =
                        || format!("the append at {first} to {last} is in the log at {found:?}");
                    self.lost.add(of(*campaign, example));
                }
            }
            Outcome::Refused { class } => {
                self.check_absence(operation, &found, &format!("was refused ({class})"));
            }
            Outcome::Superseded => {
                self.check_absence(operation, &found, "was superseded by another attempt");
            }
            Outcome::Unknown { .. } if ids.is_empty() => {
                let example =
                    || "an unknown outcome names events that the caller did not append".to_owned();
                self.ghosts.add(of(*campaign, example));
            }
            Outcome::Abandoned | Outcome::Unknown { .. } => {}
        }
    }

    fn check_absence(&mut self, operation: &Operation, found: &[&[u64]], reason: &str) {
        for position in found.iter().filter_map(|found| found.first()) {
            let example = || format!("{position} {reason}, but is in the log");
            self.ghosts.add(of(operation.campaign, example));
        }
    }

    /// Checks whether an unknown outcome was unavoidable: the server must have been unreachable at
    /// the append's deadline.
    fn check_unknown(
        &mut self,
        operation: &Operation,
        started: Instant,
        outages: &[(Instant, Instant)],
    ) {
        let deadline = started + DEADLINE;
        if !outages.iter().any(|(from, to)| (*from..*to).contains(&deadline)) {
            let example = || format!("an append of {} events", operation.ids.len());
            self.unknown_while_reachable.add(of(operation.campaign, example));
        }
    }
}

/// Returns the description of a violation in a campaign.
fn of(campaign: Campaign, example: impl FnOnce() -> String) -> impl FnOnce() -> String {
    move || format!("{campaign}: {}", example())
}

/// The positions of events, several if an event is stored more than once.
struct Positions(HashMap<Uuid, Vec<u64>>);

impl Positions {
    fn of(log: &[Entry]) -> Self {
        let mut positions: HashMap<Uuid, Vec<u64>> = HashMap::new();
        for Entry { position, id } in log {
            positions.entry(*id).or_default().push(*position);
        }
        Self(positions)
    }

    fn of_event(&self, id: &Uuid) -> &[u64] {
        self.0.get(id).map_or(&[], Vec::as_slice)
    }
}

/// The time that an append has to find out its outcome.
pub const DEADLINE: Duration = Duration::from_secs(15);

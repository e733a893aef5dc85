//! The history checker: compares the final log with the outcomes and reads that workers reported.
//!
//! It shares no code with the store. The log itself says what each decision was based on, in the
//! metadata of the decision's first event.

mod log;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use console::Violations;
use serde::Serialize;
use uuid::Uuid;

pub use self::log::{Entry, Matches};
use crate::event::Decision;
use crate::message::{Conflict, Exclusivity, Message, SingleStoreViolation, Tail};

/// The outcomes and reads that the workers reported.
#[derive(Debug, Default)]
pub struct Observations {
    accepted: Vec<Accepted>,
    conflicts: Vec<Conflict>,
    decided_nothing: Vec<Decision>,
    single_store: Vec<SingleStoreViolation>,
    stored: HashSet<Uuid>,
    tails: Vec<Tail>,
    unknown: HashSet<Uuid>,
}

#[derive(Debug)]
struct Accepted {
    ids: Vec<Uuid>,
    first: u64,
    last: u64,
}

impl Observations {
    /// Adds a message, if the checker needs it.
    pub fn add(&mut self, message: Message) {
        match message {
            Message::Accepted { ids, first, last } => {
                self.accepted.push(Accepted { ids, first, last });
            }
            Message::Conflict(conflict) => self.conflicts.push(conflict),
            Message::DecidedNothing(decision) => self.decided_nothing.push(decision),
            Message::SingleStoreViolation(violation) => self.single_store.push(violation),
            Message::Stored { ids } => self.stored.extend(ids),
            Message::Tailed(tail) => self.tails.push(tail),
            Message::Unknown { ids } => self.unknown.extend(ids),
            // An event that is neither accepted, stored nor unknown counts as refused.
            Message::Refused { .. } => {}
            Message::Ended
            | Message::Failed { .. }
            | Message::Idle
            | Message::Ready
            | Message::Tally(_) => {}
        }
    }
}

/// The violations found.
#[derive(Debug, Serialize)]
pub struct Verdict {
    /// Accepted decisions, and decisions to append nothing, whose reads differ from the log below
    /// them.
    pub wrong: Violations,
    /// Events that a tailing reader passed without seeing them.
    pub missed: Violations,
    /// Conflicts without a cause.
    pub unfounded: Violations,
    /// Events that were accepted or seen, but are missing from the log or are at another position
    /// than reported; and the missing parts of appends.
    pub lost: Violations,
    /// Events in the log that were not reported as stored.
    pub ghosts: Violations,
    /// Further copies of events in the log.
    pub twice: Violations,
}

impl Verdict {
    /// Returns every kind of violation with its name.
    pub fn all(&self) -> [(&'static str, &Violations); 6] {
        let Self { wrong, missed, unfounded, lost, ghosts, twice } = self;
        [
            ("WRONG", wrong),
            ("MISSED", missed),
            ("FALSE", unfounded),
            ("LOST", lost),
            ("GHOST", ghosts),
            ("TWICE", twice),
        ]
    }

    /// Returns whether there is no violation.
    pub fn is_clean(&self) -> bool {
        self.all().iter().all(|(_, violations)| violations.count == 0)
    }
}

/// Checks the log, which is in ascending order, against the observations.
pub fn check(log: &[Entry], observations: &Observations) -> Verdict {
    let decided = log.iter().filter_map(|entry| Some(&entry.stamp.decision.as_ref()?.filter));
    let conflicts = observations.conflicts.iter().map(|conflict| &conflict.filter);
    let nothing = observations.decided_nothing.iter().map(|decision| &decision.filter);
    let matches = Matches::find(log, decided.chain(conflicts).chain(nothing));
    let mut verdict = Verdict {
        wrong: wrong_decisions(log, &observations.decided_nothing, &matches),
        missed: missed_events(log, &observations.tails),
        unfounded: unfounded_conflicts(log, &observations.conflicts, &matches),
        lost: lost_events(log, observations),
        ghosts: ghosts(log, observations),
        twice: repeated_events(log),
    };
    for violation in &observations.single_store {
        match violation {
            SingleStoreViolation::False(text) => verdict.unfounded.add(|| text.clone()),
            SingleStoreViolation::Lost(text) => verdict.lost.add(|| text.clone()),
            SingleStoreViolation::Wrong(text) => verdict.wrong.add(|| text.clone()),
        }
    }
    verdict
}

fn wrong_decisions(log: &[Entry], nothing: &[Decision], matches: &Matches<'_>) -> Violations {
    let mut violations = Violations::default();
    for Entry { position, stamp, .. } in log {
        let Some(decision) = &stamp.decision else { continue };
        let Decision { filter, since, count, read_at } = decision;
        let found = matches.count_between(filter, *since, *position) as u64;
        if found != *count {
            let then = matches.count_between(filter, *since, read_at + 1);
            violations.add(|| {
                format!(
                    "the decision at {position}, read at {read_at}, was based on {count} events; \
                     the log has {then} up to {read_at} and {found} below {position}"
                )
            });
        }
    }
    for Decision { filter, since, count, read_at } in nothing {
        let found = matches.count_between(filter, *since, read_at + 1) as u64;
        if found != *count {
            violations.add(|| {
                format!(
                    "a decision to append nothing, read at {read_at}, was based on {count} events; \
                     the log has {found} up to that position"
                )
            });
        }
    }
    violations
}

fn missed_events(log: &[Entry], tails: &[Tail]) -> Violations {
    let mut violations = Violations::default();
    for Tail { method, server, seen, position } in tails {
        let passed = log.iter().take_while(|entry| entry.position <= *position);
        for entry in passed.filter(|entry| !seen.contains(entry.position)) {
            violations.add(|| {
                let (missed, method) = (entry.position, method.name());
                format!(
                    "a reader of the {server} by {method} read up to {position} without seeing \
                     {missed}"
                )
            });
        }
    }
    violations
}

fn unfounded_conflicts(log: &[Entry], conflicts: &[Conflict], matches: &Matches<'_>) -> Violations {
    let mut violations = Violations::default();
    for conflict in conflicts {
        if let Some(reason) = lack_of_cause(log, conflict, matches) {
            violations.add(|| {
                format!("a conflict with a history read at {}: {reason}", conflict.read_at)
            });
        }
    }
    violations
}

/// Returns why a conflict is unfounded, or `None` if it has a cause.
fn lack_of_cause(log: &[Entry], conflict: &Conflict, matches: &Matches<'_>) -> Option<String> {
    let Conflict { filter, read_at, after, event, head, exclusivity } = conflict;
    match exclusivity {
        Some(Exclusivity::Locked) => return Some("it was decided under the log's lock".to_owned()),
        Some(Exclusivity::Private) => {
            return Some("its boundary has no other writer".to_owned());
        }
        None => {}
    }
    let cause = matches.first_above(filter, *read_at);
    let Some((position, event_type)) = event else {
        let known = head.unwrap_or(u64::MAX);
        return cause
            .is_none_or(|cause| cause > known)
            .then(|| format!("no event up to {known} matches its filter"));
    };
    if after != read_at {
        return Some(format!("the error names {after} as the position of the condition"));
    }
    let index = log.binary_search_by_key(position, |entry| entry.position);
    let Some(entry) = index.ok().and_then(|index| log.get(index)) else {
        return Some(format!("it names {position}, which is not in the log"));
    };
    if entry.event_type != *event_type {
        return Some(format!(
            "it names {position} as a {event_type}, but the log has a {} there",
            entry.event_type
        ));
    }
    if position <= read_at || !matches.contains(filter, *position) {
        return Some(format!("it names {position}, which does not break the condition"));
    }
    cause.filter(|cause| cause < position).map(|cause| {
        format!("it names {position} as the first event that breaks the condition, but {cause} is")
    })
}

fn lost_events(log: &[Entry], observations: &Observations) -> Violations {
    let mut violations = Violations::default();
    let positions: HashMap<Uuid, u64> =
        log.iter().map(|entry| (entry.id, entry.position)).collect();
    for Accepted { ids, first, last } in &observations.accepted {
        let found: Vec<u64> = ids.iter().filter_map(|id| positions.get(id).copied()).collect();
        for _ in found.len()..ids.len() {
            violations
                .add(|| format!("an event of the append at {first} to {last} is not in the log"));
        }
        let as_reported = found.first() == Some(first) && found.last() == Some(last);
        if found.len() == ids.len() && !(as_reported && found.is_sorted()) {
            violations
                .add(|| format!("the append at {first} to {last} is in the log at {found:?}"));
        }
    }

    for id in observations.stored.iter().filter(|id| !positions.contains_key(id)) {
        violations.add(|| format!("the event {id} was stored, but is not in the log"));
    }

    let stored: HashSet<u64> = log.iter().map(|entry| entry.position).collect();
    for Tail { server, seen, .. } in &observations.tails {
        for position in seen.iter().filter(|position| !stored.contains(position)) {
            violations.add(|| format!("{position}, seen on the {server}, is not in the log"));
        }
    }
    add_missing_parts(log, observations, &mut violations);
    violations
}

/// Adds the missing events of appends that are in the log in part. Accepted appends are left out:
/// their missing events are counted already.
fn add_missing_parts(log: &[Entry], observations: &Observations, violations: &mut Violations) {
    let accepted: HashSet<Uuid> =
        observations.accepted.iter().flat_map(|append| append.ids.iter().copied()).collect();
    let mut parts: HashMap<Uuid, (u64, HashSet<usize>, usize)> = HashMap::new();
    for entry in log.iter().filter(|entry| entry.stamp.of > 1 && !accepted.contains(&entry.id)) {
        let first_part = || (entry.position, HashSet::new(), entry.stamp.of);
        let (_, indexes, _) = parts.entry(entry.stamp.append).or_insert_with(first_part);
        indexes.insert(entry.stamp.index);
    }
    for (position, indexes, of) in parts.into_values() {
        for _ in indexes.len()..of {
            violations.add(|| format!("an event of the append at {position} is not in the log"));
        }
    }
}

fn ghosts(log: &[Entry], observations: &Observations) -> Violations {
    let accepted = observations.accepted.iter().flat_map(|append| &append.ids);
    let expected: HashSet<&Uuid> =
        accepted.chain(&observations.unknown).chain(&observations.stored).collect();
    let mut violations = Violations::default();
    for entry in log.iter().filter(|entry| !expected.contains(&entry.id)) {
        violations.add(|| format!("{} is in the log, but was not accepted", entry.position));
    }
    violations
}

fn repeated_events(log: &[Entry]) -> Violations {
    let mut violations = Violations::default();
    let mut first: HashMap<Uuid, u64> = HashMap::new();
    for Entry { id, position, .. } in log {
        match first.get(id) {
            Some(first) => violations.add(|| format!("{position} repeats the event at {first}")),
            None => drop(first.insert(*id, *position)),
        }
    }
    violations
}

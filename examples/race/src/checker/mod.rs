//! The judge: compares the final log with what everybody was told and saw.
//!
//! It shares no code with the store. What was decided from what stands in the log itself.

mod log;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use uuid::Uuid;

pub use self::log::{Entry, Matches};
use crate::event::Decision;
use crate::fact::{CalmFault, Conflict, Fact, Immunity, Tail};

/// What the workers told.
#[derive(Debug, Default)]
pub struct Testimony {
    accepted: Vec<Accepted>,
    single_store: Vec<CalmFault>,
    conflicts: Vec<Conflict>,
    decided_nothing: Vec<Decision>,
    doubtful: HashSet<Uuid>,
    stored: HashSet<Uuid>,
    tails: Vec<Tail>,
}

#[derive(Debug)]
struct Accepted {
    ids: Vec<Uuid>,
    first: u64,
    last: u64,
}

impl Testimony {
    /// Takes down what bears on the verdict.
    pub fn add(&mut self, fact: Fact) {
        match fact {
            Fact::Accepted { ids, first, last } => {
                self.accepted.push(Accepted { ids, first, last });
            }
            Fact::CalmFault(fault) => self.single_store.push(fault),
            Fact::Conflict(conflict) => self.conflicts.push(conflict),
            Fact::DecidedNothing(decision) => self.decided_nothing.push(decision),
            Fact::Doubtful { ids } => self.doubtful.extend(ids),
            Fact::Stored { ids } => self.stored.extend(ids),
            Fact::Tailed(tail) => self.tails.push(tail),
            // Whatever was not accepted was refused.
            Fact::Refused { .. } => {}
            Fact::Ended | Fact::Failed { .. } | Fact::Idle | Fact::Ready | Fact::Tally(_) => {}
        }
    }
}

/// The faults found.
#[derive(Debug, Serialize)]
pub struct Verdict {
    /// Decisions that were accepted, or taken to append nothing, although the log below them is not
    /// what they were taken from.
    pub wrong: Faults,
    /// Events that a tailing reader passed without seeing them.
    pub missed: Faults,
    /// Conflicts for which there was no cause.
    pub unfounded: Faults,
    /// Events that were accepted, or seen, and are not in the log, or not where they were said to
    /// be; and the missing parts of appends.
    pub lost: Faults,
    /// Events in the log that nobody was told are there.
    pub ghosts: Faults,
    /// Events that are in the log again.
    pub twice: Faults,
}

impl Verdict {
    /// Returns every kind of fault by its name.
    pub fn all(&self) -> [(&'static str, &Faults); 6] {
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

    /// Returns whether there is no fault.
    pub fn is_clean(&self) -> bool {
        self.all().iter().all(|(_, faults)| faults.count == 0)
    }
}

/// The faults of one kind.
#[derive(Debug, Default, Serialize)]
pub struct Faults {
    pub count: u64,
    /// The first of them, in words.
    pub examples: Vec<String>,
}

impl Faults {
    fn add(&mut self, example: impl FnOnce() -> String) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(example());
        }
    }
}

/// Judges the log, which is in ascending order.
pub fn judge(log: &[Entry], testimony: &Testimony) -> Verdict {
    let decided = log.iter().filter_map(|entry| Some(&entry.stamp.decision.as_ref()?.filter));
    let conflicts = testimony.conflicts.iter().map(|conflict| &conflict.filter);
    let nothing = testimony.decided_nothing.iter().map(|decision| &decision.filter);
    let matches = Matches::find(log, decided.chain(conflicts).chain(nothing));
    let mut verdict = Verdict {
        wrong: wrong_decisions(log, &testimony.decided_nothing, &matches),
        missed: missed_events(log, &testimony.tails),
        unfounded: unfounded_conflicts(log, &testimony.conflicts, &matches),
        lost: lost_events(log, testimony),
        ghosts: ghosts(log, testimony),
        twice: repeated_events(log),
    };
    for fault in &testimony.single_store {
        match fault {
            CalmFault::False(text) => verdict.unfounded.add(|| text.clone()),
            CalmFault::Lost(text) => verdict.lost.add(|| text.clone()),
            CalmFault::Wrong(text) => verdict.wrong.add(|| text.clone()),
        }
    }
    verdict
}

fn wrong_decisions(log: &[Entry], nothing: &[Decision], matches: &Matches<'_>) -> Faults {
    let mut faults = Faults::default();
    for Entry { number, stamp, .. } in log {
        let Some(decision) = &stamp.decision else { continue };
        let Decision { filter, since, count, read_at } = decision;
        let found = matches.count_between(filter, *since, *number) as u64;
        if found != *count {
            let then = matches.count_between(filter, *since, read_at + 1);
            faults.add(|| {
                format!(
                    "the decision at {number}, read at {read_at}, was taken from {count} events; \
                     the log has {then} up to {read_at} and {found} below {number}"
                )
            });
        }
    }
    for Decision { filter, since, count, read_at } in nothing {
        let found = matches.count_between(filter, *since, read_at + 1) as u64;
        if found != *count {
            faults.add(|| {
                format!(
                    "a decision for nothing, read at {read_at}, was taken from {count} events; the \
                     log has {found} up to there"
                )
            });
        }
    }
    faults
}

fn missed_events(log: &[Entry], tails: &[Tail]) -> Faults {
    let mut faults = Faults::default();
    for Tail { way, server, seen, position } in tails {
        let passed = log.iter().take_while(|entry| entry.number <= *position);
        for entry in passed.filter(|entry| !seen.contains(entry.number)) {
            faults.add(|| {
                let (number, way) = (entry.number, way.name());
                format!(
                    "a reader of the {server} by {way} passed {number} without seeing it, and went on \
                     to {position}"
                )
            });
        }
    }
    faults
}

fn unfounded_conflicts(log: &[Entry], conflicts: &[Conflict], matches: &Matches<'_>) -> Faults {
    let mut faults = Faults::default();
    for conflict in conflicts {
        if let Some(reason) = lack_of_cause(log, conflict, matches) {
            faults.add(|| {
                format!("a conflict with a history read at {}: {reason}", conflict.read_at)
            });
        }
    }
    faults
}

/// Says why a conflict is none.
fn lack_of_cause(log: &[Entry], conflict: &Conflict, matches: &Matches<'_>) -> Option<String> {
    let Conflict { filter, read_at, after, event, head, immunity } = conflict;
    match immunity {
        Some(Immunity::Locked) => return Some("it was decided under the log's lock".to_owned()),
        Some(Immunity::Private) => return Some("nobody else writes to its boundary".to_owned()),
        None => {}
    }
    let cause = matches.first_above(filter, *read_at);
    let Some((number, event_type)) = event else {
        let known = head.unwrap_or(u64::MAX);
        return cause
            .is_none_or(|cause| cause > known)
            .then(|| format!("no event of its filter came up to {known}"));
    };
    if after != read_at {
        return Some(format!("it speaks of the position {after}"));
    }
    let place = log.binary_search_by_key(number, |entry| entry.number);
    let Some(entry) = place.ok().and_then(|place| log.get(place)) else {
        return Some(format!("it names {number}, which is not in the log"));
    };
    if entry.event_type != *event_type {
        return Some(format!(
            "it names {number} as a {event_type}, which is a {}",
            entry.event_type
        ));
    }
    if number <= read_at || !matches.contains(filter, *number) {
        return Some(format!("it names {number}, which does not break it"));
    }
    cause
        .filter(|cause| cause < number)
        .map(|cause| format!("it names {number} as the first event to break it, which is {cause}"))
}

fn lost_events(log: &[Entry], testimony: &Testimony) -> Faults {
    let mut faults = Faults::default();
    let places: HashMap<Uuid, u64> = log.iter().map(|entry| (entry.id, entry.number)).collect();
    for Accepted { ids, first, last } in &testimony.accepted {
        let found: Vec<u64> = ids.iter().filter_map(|id| places.get(id).copied()).collect();
        for _ in found.len()..ids.len() {
            faults.add(|| format!("an event of the append at {first} to {last} is not in the log"));
        }
        let as_told = found.first() == Some(first) && found.last() == Some(last);
        if found.len() == ids.len() && !(as_told && found.is_sorted()) {
            faults.add(|| format!("the append at {first} to {last} is in the log at {found:?}"));
        }
    }

    for id in testimony.stored.iter().filter(|id| !places.contains_key(id)) {
        faults.add(|| format!("the event {id}, which was stored, is not in the log"));
    }

    let numbers: HashSet<u64> = log.iter().map(|entry| entry.number).collect();
    for Tail { server, seen, .. } in &testimony.tails {
        for number in seen.iter().filter(|number| !numbers.contains(number)) {
            faults.add(|| format!("{number}, seen on the {server}, is not in the log"));
        }
    }

    let told: HashSet<Uuid> =
        testimony.accepted.iter().flat_map(|append| append.ids.iter().copied()).collect();
    let mut parts: HashMap<Uuid, (u64, HashSet<usize>, usize)> = HashMap::new();
    for entry in log.iter().filter(|entry| entry.stamp.of > 1 && !told.contains(&entry.id)) {
        let fresh = || (entry.number, HashSet::new(), entry.stamp.of);
        let (_, indexes, _) = parts.entry(entry.stamp.append).or_insert_with(fresh);
        indexes.insert(entry.stamp.index);
    }
    for (number, indexes, of) in parts.into_values() {
        for _ in indexes.len()..of {
            faults.add(|| format!("of the append at {number} a part is not in the log"));
        }
    }
    faults
}

fn ghosts(log: &[Entry], testimony: &Testimony) -> Faults {
    let accepted = testimony.accepted.iter().flat_map(|append| &append.ids);
    let expected: HashSet<&Uuid> =
        accepted.chain(&testimony.doubtful).chain(&testimony.stored).collect();
    let mut faults = Faults::default();
    for entry in log.iter().filter(|entry| !expected.contains(&entry.id)) {
        faults.add(|| format!("{} is in the log and was not accepted", entry.number));
    }
    faults
}

fn repeated_events(log: &[Entry]) -> Faults {
    let mut faults = Faults::default();
    let mut first: HashMap<Uuid, u64> = HashMap::new();
    for Entry { id, number, .. } in log {
        match first.get(id) {
            Some(first) => faults.add(|| format!("{number} is the event of {first} again")),
            None => drop(first.insert(*id, *number)),
        }
    }
    faults
}

const EXAMPLES: usize = 3;

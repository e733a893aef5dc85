//! The judge: compares the final log with what every caller was told.
//!
//! It shares no code with the store.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::Campaign;

/// An event of one of the final logs; no two logs share an event.
#[derive(Clone, Debug)]
pub struct Entry {
    pub number: u64,
    pub id: Uuid,
}

/// An append, or a round of a decision, and what its caller was told of it.
#[derive(Clone, Debug)]
pub struct Fact {
    pub campaign: Campaign,
    /// The ids of its events, in their order.
    pub ids: Vec<Uuid>,
    pub told: Told,
}

/// What a caller was told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Told {
    /// It is in the log, from the first number to the last.
    Accepted { first: u64, last: u64 },
    /// Nothing: it did not wait for the answer.
    GivenUp,
    /// It was not applied, and never will be.
    Refused { class: &'static str },
    /// Of another round of the same decision: this one was not applied, and never will be.
    Superseded,
    /// It may have been applied.
    Unknown { started: Instant },
}

/// Everything that the judge goes by.
#[derive(Debug, Default)]
pub struct Testimony {
    pub facts: Vec<Fact>,
    /// When the server could not be reached.
    pub outages: Vec<(Instant, Instant)>,
}

impl Testimony {
    /// Adds what a caller was told of the rounds of a decision, each of which had events of its own;
    /// an append has one round. The answer is about the last one, or about that of the events which
    /// it names, and no other one was applied.
    pub fn add(
        &mut self,
        campaign: Campaign,
        mut rounds: Vec<Vec<Uuid>>,
        named: Option<&[Uuid]>,
        told: Told,
    ) {
        let answered = match named {
            Some(ids) => rounds.iter().position(|round| round == ids),
            None => rounds.len().checked_sub(1),
        };
        let ids = answered.map(|round| rounds.remove(round)).unwrap_or_default();
        self.facts.push(Fact { campaign, ids, told });
        let others = rounds.into_iter();
        self.facts.extend(others.map(|ids| Fact { campaign, ids, told: Told::Superseded }));
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Events that were accepted and are not in the log, or not where they were said to be.
    pub lost: Faults,
    /// Events in the log of which it was told that they are not, and unknown outcomes of events that
    /// nobody made.
    pub ghosts: Faults,
    /// Events that are in the log again.
    pub twice: Faults,
    /// Appends of which a part is in the log.
    pub torn: Faults,
    /// Appends whose outcome was not told although the server could be reached.
    pub needless: Faults,
    /// Appends whose outcome was not told.
    pub unknown: u64,
    /// Appends whose callers waited for the answer.
    pub answered: u64,
}

impl Verdict {
    /// Returns every kind of fault by its name.
    pub fn all(&self) -> [(&'static str, &Faults); 5] {
        [
            ("LOST", &self.lost),
            ("GHOST", &self.ghosts),
            ("TWICE", &self.twice),
            ("TORN", &self.torn),
            ("UNKNOWN WHILE REACHABLE", &self.needless),
        ]
    }

    /// Returns whether what was told is true.
    pub fn is_true(&self) -> bool {
        let faults = [&self.lost, &self.ghosts, &self.twice, &self.torn];
        faults.iter().all(|faults| faults.count == 0)
    }

    /// Returns whether enough was told: all but one append in a thousand, and of each for which the
    /// server could be reached.
    pub fn is_known(&self) -> bool {
        self.needless.count == 0 && self.unknown * 1_000 < self.answered.max(1)
    }
}

/// The faults of one kind.
#[derive(Debug, Default)]
pub struct Faults {
    /// How many there are.
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

    fn add_of(&mut self, campaign: Campaign, example: impl FnOnce() -> String) {
        self.add(|| format!("{campaign}: {}", example()));
    }
}

/// Judges the logs.
pub fn judge(log: &[Entry], testimony: &Testimony) -> Verdict {
    let places = Places::of(log);
    let mut verdict = Verdict::default();
    for fact in &testimony.facts {
        verdict.judge_presence(fact, &places);
        match fact.told {
            Told::Unknown { started } => {
                verdict.unknown += 1;
                verdict.answered += 1;
                verdict.judge_silence(fact, started, &testimony.outages);
            }
            Told::GivenUp | Told::Superseded => {}
            Told::Accepted { .. } | Told::Refused { .. } => verdict.answered += 1,
        }
    }
    let known: HashSet<Uuid> =
        testimony.facts.iter().flat_map(|fact| fact.ids.iter().copied()).collect();
    for entry in log.iter().filter(|entry| !known.contains(&entry.id)) {
        verdict.ghosts.add(|| format!("{} is in the log, of nobody", entry.number));
    }
    verdict
}

impl Verdict {
    fn judge_presence(&mut self, fact: &Fact, places: &Places) {
        let Fact { campaign, ids, told } = fact;
        let numbers: Vec<&[u64]> = ids.iter().map(|id| places.of_event(id)).collect();
        let present = numbers.iter().filter(|numbers| !numbers.is_empty()).count();
        for numbers in &numbers {
            for again in numbers.iter().skip(1) {
                let example = || format!("{again} is the event of {} again", numbers[0]);
                self.twice.add_of(*campaign, example);
            }
        }
        if present > 0 && present < ids.len() {
            let example = || format!("of {} events {present} are in the log", ids.len());
            self.torn.add_of(*campaign, example);
        }
        match *told {
            Told::Accepted { first, last } => {
                for _ in present..ids.len() {
                    let example =
                        || format!("an event of the append at {first} to {last} is not there");
                    self.lost.add_of(*campaign, example);
                }
                let found: Vec<u64> =
                    numbers.iter().filter_map(|one| one.first().copied()).collect();
                let as_told = found.first() == Some(&first) && found.last() == Some(&last);
                if present == ids.len() && !(as_told && found.is_sorted()) {
                    let example = || format!("the append at {first} to {last} is at {found:?}");
                    self.lost.add_of(*campaign, example);
                }
            }
            Told::Refused { class } => {
                self.judge_absence(fact, &numbers, &format!("was refused ({class})"));
            }
            Told::Superseded => {
                self.judge_absence(fact, &numbers, "was superseded by another round");
            }
            Told::Unknown { .. } if ids.is_empty() => {
                let example = || "an unknown outcome is of nobody's events".to_owned();
                self.ghosts.add_of(*campaign, example);
            }
            Told::GivenUp | Told::Unknown { .. } => {}
        }
    }

    fn judge_absence(&mut self, fact: &Fact, numbers: &[&[u64]], fate: &str) {
        for number in numbers.iter().filter_map(|numbers| numbers.first()) {
            self.ghosts.add_of(fact.campaign, || format!("{number} {fate} and is in the log"));
        }
    }

    /// Judges whether an unknown outcome could have been found out: at the end of the time that
    /// there was for it, the server could be reached.
    fn judge_silence(&mut self, fact: &Fact, started: Instant, outages: &[(Instant, Instant)]) {
        let deadline = started + DEADLINE;
        if !outages.iter().any(|(from, to)| (*from..*to).contains(&deadline)) {
            let example = || format!("an append of {} events", fact.ids.len());
            self.needless.add_of(fact.campaign, example);
        }
    }
}

/// Where events are, the same one perhaps several times.
struct Places(HashMap<Uuid, Vec<u64>>);

impl Places {
    fn of(log: &[Entry]) -> Self {
        let mut places: HashMap<Uuid, Vec<u64>> = HashMap::new();
        for Entry { number, id } in log {
            places.entry(*id).or_default().push(*number);
        }
        Self(places)
    }

    fn of_event(&self, id: &Uuid) -> &[u64] {
        self.0.get(id).map_or(&[], Vec::as_slice)
    }
}

/// How long an append may take to find out what became of it.
pub const DEADLINE: Duration = Duration::from_secs(15);

const EXAMPLES: usize = 3;

//! The number of operations of each kind, over all workers.

use std::collections::BTreeMap;
use std::fmt;

use crate::kind::Kind;
use crate::message::{Ending, Form, Server};

/// The counts of each worker.
#[derive(Debug, Default)]
pub struct Tally {
    workers: BTreeMap<usize, Vec<(Kind, u64)>>,
}

impl Tally {
    /// Replaces the counts of a worker.
    pub fn set(&mut self, worker: usize, counts: Vec<(Kind, u64)>) {
        self.workers.insert(worker, counts);
    }

    /// Returns the number of operations whose kind satisfies a predicate.
    pub fn sum(&self, predicate: impl Fn(Kind) -> bool) -> u64 {
        let counts = self.workers.values().flatten();
        counts.filter(|(kind, _)| predicate(*kind)).map(|(_, count)| count).sum()
    }

    /// Returns the number of operations of a kind.
    pub fn of(&self, kind: Kind) -> u64 {
        self.sum(|one| one == kind)
    }

    /// Returns the kinds that did not occur.
    pub fn absent(&self, kinds: &[Kind]) -> Vec<Kind> {
        kinds.iter().copied().filter(|&kind| self.of(kind) == 0).collect()
    }

    /// Returns the number of accepted decisions.
    pub fn decisions(&self) -> u64 {
        self.sum(|kind| match kind {
            Kind::Decision(_) | Kind::FreshStore | Kind::PrivateDecision => true,
            Kind::StoreDecision(ending) => {
                matches!(ending, Ending::FirstAttempt | Ending::LaterAttempt | Ending::Locked)
            }
            _ => false,
        })
    }

    /// Returns the number of conflicts that writers received. Conflicts after which the store
    /// repeated a decision successfully are not included.
    pub fn conflicts(&self) -> u64 {
        self.of(Kind::Conflict) + self.of(Kind::StoreDecision(Ending::Conflict))
    }

    /// Returns the number of accepted appends without a condition.
    pub fn unconditional(&self) -> u64 {
        self.sum(|kind| matches!(kind, Kind::Unconditional | Kind::UnconditionalMany))
    }

    /// Returns the number of inserts by plain SQL that were committed.
    pub fn inserts(&self) -> u64 {
        self.sum(|kind| matches!(kind, Kind::Insert(_, form) if form != Form::RolledBack))
    }

    /// Returns the number of successful reads of a server by tailing readers.
    pub fn tails(&self, server: Server) -> u64 {
        self.sum(|kind| matches!(kind, Kind::Tail(_, one) if one == server))
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} decisions, {} conflicts, {} unconditional appends, {} inserts",
            self.decisions(),
            self.conflicts(),
            self.unconditional(),
            self.inserts(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boundary::FilterKind;
    use crate::message::Isolation;

    #[test]
    fn adds_up_the_last_counts_of_each_worker() {
        let mut tally = Tally::default();
        tally.set(0, vec![(Kind::Conflict, 1)]);
        tally.set(0, vec![(Kind::Conflict, 3), (Kind::Decision(FilterKind::Ids), 5)]);
        tally.set(1, vec![(Kind::Conflict, 4), (Kind::PrivateDecision, 2)]);
        tally.set(2, Ending::ALL.map(|ending| (Kind::StoreDecision(ending), 1)).into());

        assert_eq!((tally.conflicts(), tally.decisions()), (8, 10));
    }

    #[test]
    fn does_not_count_inserts_that_were_rolled_back() {
        let insert = |form| (Kind::Insert(Isolation::Serializable, form), 1);
        let mut tally = Tally::default();
        tally.set(0, Form::ALL.map(insert).into());

        assert_eq!(tally.inserts(), 4);
    }
}

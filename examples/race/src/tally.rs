//! How often each kind of work was done, by all workers together.

use std::collections::BTreeMap;
use std::fmt;

use crate::fact::{Ending, Form, Server};
use crate::kind::Kind;

/// Each worker's counts.
#[derive(Debug, Default)]
pub struct Tally {
    workers: BTreeMap<usize, Vec<(Kind, u64)>>,
}

impl Tally {
    /// Takes a worker's counts in place of those it gave before.
    pub fn set(&mut self, worker: usize, counts: Vec<(Kind, u64)>) {
        self.workers.insert(worker, counts);
    }

    /// Returns how often work was done of the kinds that are asked for.
    pub fn sum(&self, asked: impl Fn(Kind) -> bool) -> u64 {
        let counts = self.workers.values().flatten();
        counts.filter(|(kind, _)| asked(*kind)).map(|(_, count)| count).sum()
    }

    /// Returns how often work of the kind was done.
    pub fn of(&self, kind: Kind) -> u64 {
        self.sum(|one| one == kind)
    }

    /// Lists those of the kinds that no work was done of.
    pub fn absent(&self, kinds: &[Kind]) -> Vec<Kind> {
        kinds.iter().copied().filter(|&kind| self.of(kind) == 0).collect()
    }

    /// Returns how many decisions were accepted.
    pub fn decisions(&self) -> u64 {
        self.sum(|kind| match kind {
            Kind::Decision(_) | Kind::FreshStore | Kind::PrivateDecision => true,
            Kind::Left(ending) => {
                matches!(ending, Ending::AtOnce | Ending::Later | Ending::Locked)
            }
            _ => false,
        })
    }

    /// Returns how many conflicts writers were told of; rounds that the store lost and made good
    /// for are not among them.
    pub fn conflicts(&self) -> u64 {
        self.of(Kind::Conflict) + self.of(Kind::Left(Ending::Lost))
    }

    /// Returns how many appends without condition were accepted.
    pub fn unconditional(&self) -> u64 {
        self.sum(|kind| matches!(kind, Kind::Unconditional | Kind::UnconditionalMany))
    }

    /// Returns how many times plain SQL inserted for good.
    pub fn inserts(&self) -> u64 {
        self.sum(|kind| matches!(kind, Kind::Insert(_, form) if form != Form::RolledBack))
    }

    /// Returns how many times the tailing readers were answered by a server.
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
    use crate::fact::Isolation;

    #[test]
    fn adds_up_what_each_worker_said_last() {
        let mut tally = Tally::default();
        tally.set(0, vec![(Kind::Conflict, 1)]);
        tally.set(0, vec![(Kind::Conflict, 3), (Kind::Decision(FilterKind::Ids), 5)]);
        tally.set(1, vec![(Kind::Conflict, 4), (Kind::PrivateDecision, 2)]);
        tally.set(2, Ending::ALL.map(|ending| (Kind::Left(ending), 1)).into());

        assert_eq!((tally.conflicts(), tally.decisions()), (8, 10));
    }

    #[test]
    fn counts_no_insert_that_was_rolled_back() {
        let insert = |form| (Kind::Insert(Isolation::Serializable, form), 1);
        let mut tally = Tally::default();
        tally.set(0, Form::ALL.map(insert).into());

        assert_eq!(tally.inserts(), 4);
    }
}

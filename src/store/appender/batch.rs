use std::collections::HashSet;

use super::judge::Judge;
use super::queue::Member;
use super::recent::Events;
use crate::SequenceNumber;

/// Attempts that go together, by how they are judged.
///
/// None of them depends on one that came before it. They are carried out as they are sorted, those
/// that were judged first, and that is the order in which they count.
#[derive(Default)]
pub(super) struct Batch {
    /// As far as is known their conditions hold.
    pub(super) judged: Vec<Member>,
    /// Each takes a statement of its own.
    pub(super) asked: Vec<Member>,
    /// They depend on what becomes of one of the others.
    pub(super) later: Vec<Member>,
}

impl Batch {
    /// Sorts attempts. The first one never has to wait.
    pub(super) fn sort(members: Vec<Member>, judge: Judge<'_>) -> Self {
        let mut batch = Self::default();
        let mut earlier = Earlier::of(members.len());
        for member in members {
            if earlier.may_change(&member) {
                batch.later.push(member);
                continue;
            }
            let is_judged = judge.takes(&member);
            if !is_judged && batch.asked.len() >= MAX_ASKED {
                batch.later.push(member);
                continue;
            }
            earlier.add(&member);
            if is_judged { batch.judged.push(member) } else { batch.asked.push(member) }
        }
        batch
    }
}

/// What the attempts of a batch that come before are about to store.
#[derive(Default)]
struct Earlier {
    ids: HashSet<uuid::Uuid>,
    events: Events,
    count: u64,
    /// Whether one of them is so large that any condition might match it.
    is_opaque: bool,
}

impl Earlier {
    /// Makes room for the events of so many members.
    fn of(members: usize) -> Self {
        let ids = HashSet::with_capacity(members);
        Self { ids, events: Events::with_capacity(members), ..Self::default() }
    }

    /// Returns whether what becomes of an attempt may depend on them.
    fn may_change(&self, member: &Member) -> bool {
        let request = &member.request;
        let is_matched = request.guard().is_some_and(|(guard, lookup)| {
            self.is_opaque || self.events.has_match(&guard.filter, lookup, SequenceNumber::ZERO)
        });
        is_matched || request.events.iter().any(|event| self.ids.contains(&event.id()))
    }

    fn add(&mut self, member: &Member) {
        let events = &member.request.events;
        for index in 0..events.len() {
            self.count += 1;
            self.ids.insert(events[index].id());
            let number = SequenceNumber::new(self.count);
            self.is_opaque |= !self.events.add(number, events, index, member.request.terms(index));
        }
    }
}

/// The most attempts of a batch that the server judges: each takes it a while under the lock.
const MAX_ASKED: usize = 32;

use std::collections::HashSet;

use uuid::Uuid;

use super::log_tail::EventIndex;
use super::queue::PendingAppend;
use crate::SequenceNumber;

/// The ids and the events that the attempts of a batch append.
#[derive(Default)]
pub(super) struct BatchContents {
    ids: HashSet<Uuid>,
    events: EventIndex,
    count: u64,
    /// Whether an event is too large to be indexed, so that any filter might match it.
    is_opaque: bool,
}

impl BatchContents {
    /// Creates contents with capacity for the events of `attempts` attempts.
    pub(super) fn with_capacity(attempts: usize) -> Self {
        let ids = HashSet::with_capacity(attempts);
        Self { ids, events: EventIndex::with_capacity(attempts), ..Self::default() }
    }

    /// Returns whether the outcome of another attempt may depend on them. SAFETY.md, Attempts that
    /// depend on each other.
    pub(super) fn may_decide(&self, pending: &PendingAppend) -> bool {
        let request = &pending.request;
        let is_matched = request.guard().is_some_and(|(guard, lookup)| {
            self.is_opaque || self.events.has_match(&guard.filter, lookup)
        });
        is_matched || request.events.iter().any(|event| self.ids.contains(&event.id()))
    }

    pub(super) fn add(&mut self, pending: &PendingAppend) {
        let request = &pending.request;
        for (index, event) in request.events.iter().enumerate() {
            self.count += 1;
            self.ids.insert(event.id());
            let number = SequenceNumber::new(self.count);
            let terms = request.terms(index);
            self.is_opaque |= !self.events.add(number, &request.events, index, terms);
        }
    }
}

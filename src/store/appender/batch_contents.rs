use std::collections::HashSet;

use uuid::Uuid;

use super::log_tail::EventIndex;
use super::queue::PendingAppend;
use crate::SequenceNumber;

/// The ids and the events that the requests of a batch append.
#[derive(Default)]
pub(super) struct BatchContents {
    ids: HashSet<Uuid>,
    events: EventIndex,
    count: u64,
    /// Whether an event is too large to be indexed, so that any filter might match it.
    is_opaque: bool,
}

impl BatchContents {
    /// Creates contents with capacity for the events of `requests` requests.
    pub(super) fn with_capacity(requests: usize) -> Self {
        let ids = HashSet::with_capacity(requests);
        Self { ids, events: EventIndex::with_capacity(requests), ..Self::default() }
    }

    /// Returns whether these contents may affect the outcome of another request. SAFETY.md,
    /// Requests that depend on each other.
    pub(super) fn may_affect(&self, pending: &PendingAppend) -> bool {
        let request = &pending.request;
        let is_matched = request.condition().is_some_and(|(condition, lookup)| {
            self.is_opaque || self.events.has_match(&condition.filter, lookup)
        });
        is_matched || request.events.iter().any(|event| self.ids.contains(&event.id()))
    }

    pub(super) fn add(&mut self, pending: &PendingAppend) {
        let request = &pending.request;
        for (index, event) in request.events.iter().enumerate() {
            self.count += 1;
            self.ids.insert(event.id());
            let index_position = SequenceNumber::new(self.count);
            let terms = request.terms(index);
            self.is_opaque |= !self.events.add(index_position, &request.events, index, terms);
        }
    }
}

use std::sync::Arc;

use super::log_tail::{hasher, terms_of};
use crate::condition::Guard;
use crate::filter::IndexLookup;
use crate::store::log::bytes_of;
use crate::{AppendCondition, Event, SequenceNumber};

/// One attempt to append.
pub(in crate::store) struct AppendRequest {
    pub(in crate::store) events: Arc<[Event]>,
    pub(in crate::store) condition: AppendCondition,
    /// Up to where the condition is known to hold: its own position, or a later one to which a search
    /// found no event that breaks it.
    pub(in crate::store) validated: SequenceNumber,
    /// How often it was refused because too many events lay above that position.
    pub(in crate::store) refusals: u32,
    /// Of JSON.
    bytes: usize,
    /// The terms under which each of the events is kept; none if the attempt is large.
    terms: Box<[Option<Box<[u64]>>]>,
    /// Where the events are kept that the condition's filter may match.
    lookup: Option<IndexLookup>,
}

impl AppendRequest {
    /// Makes an attempt. The caller finds out all that can be known of the attempt alone, so that the
    /// worker, of which there is one for all callers, need not.
    pub(in crate::store) fn new(events: Arc<[Event]>, condition: AppendCondition) -> Self {
        let lookup = condition.guard().map(|guard| guard.filter.lookup(hasher()));
        let validated = condition.guard().map(|guard| guard.after).unwrap_or_default();
        let bytes = bytes_of(events.iter());
        let terms = Box::default();
        let mut request = Self { events, condition, validated, refusals: 0, bytes, terms, lookup };
        if !request.is_large() {
            request.terms = request.events.iter().map(terms_of).collect();
        }
        request
    }

    /// Sets up to where a search found that the condition holds.
    pub(in crate::store) fn validated_to(self, head: SequenceNumber) -> Self {
        let validated = self.validated.max(head);
        Self { validated, ..self }
    }

    /// Sets how often it was refused because too many events lay above its position.
    pub(in crate::store) fn refused(self, refusals: u32) -> Self {
        Self { refusals, ..self }
    }

    /// Returns how many event types and values the alternatives of its filter have together.
    pub(super) fn filter_values(&self) -> usize {
        self.condition.guard().map_or(0, |guard| guard.filter.values())
    }

    /// Returns how many bytes of JSON it has.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the terms under which an event is kept; `None` if it is not kept.
    pub(super) fn terms(&self, index: usize) -> Option<&[u64]> {
        self.terms.get(index)?.as_deref()
    }

    /// Returns what must not have happened, and where to look for it.
    pub(super) fn guard(&self) -> Option<(&Guard, &IndexLookup)> {
        self.condition.guard().zip(self.lookup.as_ref())
    }

    /// Returns whether the attempt is too large to share a connection with others, which would have to
    /// wait until it has arrived.
    pub(in crate::store) fn is_large(&self) -> bool {
        self.bytes >= MAX_SHARED_BYTES || self.events.len() > MAX_SHARED_EVENTS
    }
}

/// From how many bytes of JSON on an attempt is large.
pub(super) const MAX_SHARED_BYTES: usize = 64 << 10;
/// The most events of an attempt that is not large.
pub(super) const MAX_SHARED_EVENTS: usize = 256;

use std::sync::Arc;

use super::log_tail::{hasher, terms_of};
use crate::condition::FilterPosition;
use crate::filter::IndexLookup;
use crate::store::append::json_bytes;
use crate::telemetry::OperationHandle;
use crate::{AppendCondition, Bookmark, Event};

/// A request to append events under a condition. An attempt puts it into the queue or, if it is
/// large, sends it in a transaction of its own.
pub(in crate::store) struct AppendRequest {
    pub(in crate::store) events: Arc<[Event]>,
    pub(in crate::store) condition: AppendCondition,
    /// The operation that the request belongs to.
    pub(in crate::store) operation: OperationHandle,
    /// The validated position, up to which the condition is known to hold: the condition's own
    /// position, or the head of a search that found no event which breaks it.
    pub(in crate::store) validated: Bookmark,
    /// How often the server did not validate the condition in this attempt, because too many events
    /// lay above the validated position.
    pub(in crate::store) too_old_count: u32,
    json_bytes: usize,
    /// The index terms of each event. Empty if the request is large.
    terms: Box<[Option<Box<[u64]>>]>,
    /// The index terms of the events that the condition's filter may match.
    lookup: Option<IndexLookup>,
}

impl AppendRequest {
    /// Creates a request. The caller's task computes everything that depends on this request alone,
    /// because the worker does its work for all callers.
    pub(in crate::store) fn new(
        events: Arc<[Event]>,
        condition: AppendCondition,
        operation: OperationHandle,
    ) -> Self {
        let lookup = condition.filter_position().map(|condition| condition.filter.lookup(hasher()));
        let validated =
            condition.filter_position().map(|condition| condition.after).unwrap_or_default();
        let json_bytes = json_bytes(events.iter());
        let terms = Box::default();
        let mut request = Self {
            events,
            condition,
            operation,
            validated,
            too_old_count: 0,
            json_bytes,
            terms,
            lookup,
        };
        if !request.is_large() {
            request.terms = request.events.iter().map(terms_of).collect();
        }
        request
    }

    /// Sets the position up to which a search found that the condition holds.
    pub(in crate::store) fn validated_to(self, head: Bookmark) -> Self {
        Self { validated: head, ..self }
    }

    /// Sets how often the server found too many events above the validated position.
    pub(in crate::store) fn with_too_old_count(self, too_old_count: u32) -> Self {
        Self { too_old_count, ..self }
    }

    /// Returns how many event types and values its filter has.
    pub(super) fn filter_values(&self) -> usize {
        self.condition.filter_position().map_or(0, |condition| condition.filter.values())
    }

    /// Returns the size of its events' payloads and metadata.
    pub(super) fn json_bytes(&self) -> usize {
        self.json_bytes
    }

    /// Returns the index terms of an event, or `None` if the event is too large to be kept.
    pub(super) fn terms(&self, index: usize) -> Option<&[u64]> {
        self.terms.get(index)?.as_deref()
    }

    /// Returns the condition, and the index terms of the events that may break it.
    pub(super) fn condition(&self) -> Option<(&FilterPosition, &IndexLookup)> {
        self.condition.filter_position().zip(self.lookup.as_ref())
    }

    /// Returns whether the request is too large for a batch: the other requests of the batch would
    /// have to wait until it has arrived at the server.
    pub(in crate::store) fn is_large(&self) -> bool {
        exceeds_batch(self.events.len(), self.json_bytes)
    }
}

/// Returns whether a request with these events is [large](AppendRequest::is_large).
pub(in crate::store) fn is_large(events: &[Event]) -> bool {
    exceeds_batch(events.len(), json_bytes(events))
}

fn exceeds_batch(events: usize, json_bytes: usize) -> bool {
    json_bytes >= LARGE_REQUEST_BYTES || events > MAX_SMALL_REQUEST_EVENTS
}

/// A request is large if it has this many bytes of JSON or more.
pub(super) const LARGE_REQUEST_BYTES: usize = 64 << 10;
/// The most events of a request that is not large.
pub(super) const MAX_SMALL_REQUEST_EVENTS: usize = 256;

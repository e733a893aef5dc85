use std::collections::HashSet;

use uuid::Uuid;

use crate::limits::{MAX_APPEND_BYTES, MAX_APPEND_EVENTS};
use crate::{Error, Event};

/// Checks the number, the size and the ids of the events of an append.
pub(in crate::store) fn check_events(events: &[Event]) -> Result<(), Error> {
    if events.is_empty() {
        return Err(Error::invalid_append("has no event"));
    }
    if events.len() > MAX_APPEND_EVENTS {
        let count = events.len();
        let reason = format!("has {count} events, the most are {MAX_APPEND_EVENTS}");
        return Err(Error::invalid_append(reason));
    }
    let bytes = json_bytes(events);
    if bytes > MAX_APPEND_BYTES {
        let reason = format!("has {bytes} bytes of JSON, the most are {MAX_APPEND_BYTES}");
        return Err(Error::invalid_append(reason));
    }
    if events.len() > 1 && has_duplicate_id(events) {
        return Err(Error::invalid_append("has two events with the same id"));
    }
    Ok(())
}

fn has_duplicate_id(events: &[Event]) -> bool {
    events.iter().map(Event::id).collect::<HashSet<Uuid>>().len() < events.len()
}

/// Returns the size of the events' payloads and metadata.
pub(in crate::store) fn json_bytes<'a>(events: impl IntoIterator<Item = &'a Event>) -> usize {
    events.into_iter().map(|event| event.payload_json().len() + event.metadata_json().len()).sum()
}

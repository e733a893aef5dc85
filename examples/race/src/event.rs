//! The events of a race, whose metadata holds all that the checker needs.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::filter::FilterSpec;

/// An event to append by any protocol.
#[derive(Clone, Debug)]
pub struct NewEvent {
    pub id: Uuid,
    pub event_type: String,
    pub payload: Value,
    pub stamp: Stamp,
}

/// The metadata of every event of the race.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Stamp {
    /// The id of the append that the event belongs to.
    pub append: Uuid,
    /// The event's index within that append, from zero.
    pub index: usize,
    /// The number of events of that append.
    pub of: usize,
    /// The decision. Only the first event of an append has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
}

/// A decision, and what it was based on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Decision {
    pub filter: FilterSpec,
    /// The position after which the history begins.
    #[serde(default)]
    pub since: u64,
    /// The number of events of the history.
    pub count: u64,
    /// The position of the history.
    pub read_at: u64,
}

/// Makes the events of one append.
pub fn new_events(
    contents: impl IntoIterator<Item = (String, Value)>,
    mut decision: Option<Decision>,
) -> Vec<NewEvent> {
    let contents = Vec::from_iter(contents);
    let (append, of) = (Uuid::now_v7(), contents.len());
    let event = |(index, (event_type, payload))| NewEvent {
        id: Uuid::now_v7(),
        event_type,
        payload,
        stamp: Stamp { append, index, of, decision: decision.take() },
    };
    contents.into_iter().enumerate().map(event).collect()
}

/// Returns the ids of events.
pub fn ids(events: &[NewEvent]) -> Vec<Uuid> {
    events.iter().map(|event| event.id).collect()
}

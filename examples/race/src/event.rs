//! Events as they go into the log, with all that a judge of the log needs to know.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::filter::FilterSpec;

/// An event to append, by whatever protocol.
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
    /// The append that it came with.
    pub append: Uuid,
    /// Its place among the events of that append, from zero.
    pub index: usize,
    /// How many events that append has.
    pub of: usize,
    /// What was decided; it stands with the first event of its append only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
}

/// A decision, and what it was taken from.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Decision {
    pub filter: FilterSpec,
    /// Where the history began: it had what came after this position.
    #[serde(default)]
    pub since: u64,
    /// How many events the filter's history had.
    pub count: u64,
    /// The position that the history was true at.
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

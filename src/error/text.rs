//! The texts of errors, as far as they need more than a line.

use std::fmt::{Formatter, Result};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::Cause;
use crate::SequenceNumber;

/// Formats `Error::Conflict`.
pub(super) fn conflict(
    after: &SequenceNumber,
    position: &SequenceNumber,
    event_type: &str,
    f: &mut Formatter<'_>,
) -> Result {
    write!(
        f,
        "append condition failed: event {position} of type {event_type:?} was committed after \
         {after}"
    )
}

/// Formats `Error::Decode`.
pub(super) fn decode(
    position: &SequenceNumber,
    event_type: &str,
    event_id: &Option<Uuid>,
    _source: &Cause,
    f: &mut Formatter<'_>,
) -> Result {
    write!(f, "event {position} of type {event_type:?} with id ")?;
    match event_id {
        Some(id) => write!(f, "{id}")?,
        None => write!(f, "unknown")?,
    }
    write!(f, " cannot be decoded")
}

/// Formats `Error::DecisionTimedOut`.
pub(super) fn decision_timed_out(
    waited: &Duration,
    allowed: &Duration,
    f: &mut Formatter<'_>,
) -> Result {
    write!(
        f,
        "the decision took {waited:?} under the log's lock, more than the {allowed:?} that \
         Config::decision_timeout allows"
    )
}

/// Formats `Error::DuplicateEvent`.
pub(super) fn duplicate_event(
    event_id: &Uuid,
    position: &SequenceNumber,
    f: &mut Formatter<'_>,
) -> Result {
    write!(
        f,
        "invalid append: event {event_id} is in the log already, at {position}, with other \
         contents or without the other events of the append"
    )
}

/// Formats `Error::Payload`.
pub(super) fn payload(
    event_type: &str,
    event_id: &Uuid,
    position: &Option<SequenceNumber>,
    field: &str,
    _source: &Arc<serde_json::Error>,
    f: &mut Formatter<'_>,
) -> Result {
    write!(f, "{field} of event {event_id} of type {event_type:?}")?;
    if let Some(position) = position {
        write!(f, " at {position}")?;
    }
    write!(f, " does not have the requested shape")
}

/// Formats `Error::PositionLost`.
pub(super) fn position_lost(
    server: &str,
    position: &SequenceNumber,
    ended: &Option<SequenceNumber>,
    f: &mut Formatter<'_>,
) -> Result {
    write!(f, "the event at position {position} is lost: the log on {server} ")?;
    match ended {
        Some(ended) => write!(f, "went on after position {ended} without it")?,
        None => write!(f, "does not know its epoch")?,
    }
    write!(f, ": read again without this bookmark")
}

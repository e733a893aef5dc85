use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Says where an event comes from.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Metadata {
    /// The event's own id.
    #[serde(rename = "MessageID")]
    pub message_id: Uuid,
    /// What brought it about: the command.
    #[serde(rename = "CausationID")]
    pub causation_id: Uuid,
    /// What it belongs to; the same in every event of a command.
    #[serde(rename = "CorrelationID")]
    pub correlation_id: Uuid,
}

impl Metadata {
    /// Describes an event of a command that nothing else brought about.
    pub fn of_command(command_id: Uuid, event_id: Uuid) -> Self {
        Self { message_id: event_id, causation_id: command_id, correlation_id: command_id }
    }
}

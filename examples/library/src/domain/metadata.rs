use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The metadata of an event: its origin.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Metadata {
    /// The id of the event itself.
    #[serde(rename = "MessageID")]
    pub message_id: Uuid,
    /// The id of the command that caused the event.
    #[serde(rename = "CausationID")]
    pub causation_id: Uuid,
    /// The correlation id, which all events of a command share.
    #[serde(rename = "CorrelationID")]
    pub correlation_id: Uuid,
}

impl Metadata {
    /// Returns the metadata of an event of a command. The command starts the correlation.
    pub fn of_command(command_id: Uuid, event_id: Uuid) -> Self {
        Self { message_id: event_id, causation_id: command_id, correlation_id: command_id }
    }
}

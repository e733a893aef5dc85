use jiff::Timestamp;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::{Error, Event, SequenceNumber};

/// An [`Event`] that a log holds, with its position and the time when it was stored.
///
/// ```
/// # use eddyline::{Error, History, ReadWrite, SequencedEvent};
/// #[derive(serde::Deserialize)]
/// struct Lent {
///     #[serde(rename = "BookID")]
///     book: String,
/// }
///
/// fn books(history: &History<ReadWrite>) -> Result<Vec<String>, Error> {
///     let is_loan = |event: &&SequencedEvent| event.event_type() == "BookCopyLentToReader";
///     let lent = history.events().iter().filter(is_loan);
///     lent.map(|event| Ok(event.payload::<Lent>()?.book)).collect()
/// }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SequencedEvent {
    event: Event,
    sequence_number: SequenceNumber,
    recorded_at: Timestamp,
}

impl SequencedEvent {
    /// Makes a stored event without a log, for tests of code that folds events.
    ///
    /// ```
    /// use eddyline::jiff::Timestamp;
    /// use eddyline::{Event, SequenceNumber, SequencedEvent};
    ///
    /// let event = Event::from_json("ReaderRegistered", r#"{"ReaderID":"r-1"}"#)?;
    /// let stored = SequencedEvent::new(event, SequenceNumber::new(7), Timestamp::now());
    /// assert_eq!(stored.sequence_number(), SequenceNumber::new(7));
    /// # Ok::<(), eddyline::Error>(())
    /// ```
    pub fn new(event: Event, sequence_number: SequenceNumber, recorded_at: Timestamp) -> Self {
        Self { event, sequence_number, recorded_at }
    }

    /// Returns the event without its position.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// Returns the event without its position.
    pub fn into_event(self) -> Event {
        self.event
    }

    /// Returns the event's position in the log.
    pub fn sequence_number(&self) -> SequenceNumber {
        self.sequence_number
    }

    /// Returns when the event was stored, by the clock of the server.
    pub fn recorded_at(&self) -> Timestamp {
        self.recorded_at
    }

    /// Returns the id, which is unique in a log.
    pub fn id(&self) -> Uuid {
        self.event.id()
    }

    /// Returns the event type.
    pub fn event_type(&self) -> &str {
        self.event.event_type()
    }

    /// Returns when the event happened, by the clock of the program that made it.
    pub fn occurred_at(&self) -> Timestamp {
        self.event.occurred_at()
    }

    /// Decodes the payload.
    ///
    /// # Errors
    ///
    /// [`Error::Payload`] if the payload does not have the shape of `T`. It names the event and its
    /// position.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.event.decode("payload", self.payload_json(), Some(self.sequence_number))
    }

    /// Returns the payload as JSON text.
    pub fn payload_json(&self) -> &str {
        self.event.payload_json()
    }

    /// Decodes the metadata.
    ///
    /// # Errors
    ///
    /// [`Error::Payload`] if the metadata does not have the shape of `T`. It names the event and
    /// its position.
    pub fn metadata<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.event.decode("metadata", self.metadata_json(), Some(self.sequence_number))
    }

    /// Returns the metadata as JSON text.
    pub fn metadata_json(&self) -> &str {
        self.event.metadata_json()
    }
}

impl From<SequencedEvent> for Event {
    fn from(stored: SequencedEvent) -> Self {
        stored.into_event()
    }
}

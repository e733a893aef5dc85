//! The ten event types: their payloads, and the conversion to and from events of the log.

mod circulation;
mod lending;
mod readers;

use eddyline::{Error, Event, SequenceNumber, SequencedEvent};
use uuid::Uuid;

pub use self::circulation::{
    BookCopyAddedToCirculation, BookCopyRemovedFromCirculation, BookData,
    RemovingBookFromCirculationFailed,
};
pub use self::lending::{
    BookCopyLentToReader, BookCopyReturnedByReader, LendingBookToReaderFailed,
    ReturningBookFromReaderFailed,
};
pub use self::readers::{CancelingReaderContractFailed, ReaderContractCanceled, ReaderRegistered};
use crate::domain::{Metadata, OccurredAt};

/// Defines [`DomainEvent`] from payload types, each with the name of its event type.
macro_rules! domain_events {
    ($($payload:ident,)+) => {
        /// An event of the library, with one variant for each event type.
        #[derive(Clone, Debug, Eq, PartialEq)]
        pub enum DomainEvent {
            $(
                #[doc = concat!("A [`", stringify!($payload), "`] event.")]
                $payload($payload),
            )+
        }

        impl DomainEvent {
            /// Returns the event type.
            pub fn event_type(&self) -> &'static str {
                match self {
                    $(Self::$payload(_) => $payload::EVENT_TYPE,)+
                }
            }

            /// Returns the time of the event.
            pub fn occurred_at(&self) -> OccurredAt {
                match self {
                    $(Self::$payload(payload) => payload.occurred_at,)+
                }
            }

            fn encode_payload(&self) -> Result<Event, Error> {
                match self {
                    $(Self::$payload(payload) => Event::new($payload::EVENT_TYPE, payload),)+
                }
            }

            fn decode_payload(event: &Event) -> Option<Result<Self, Error>> {
                match event.event_type() {
                    $($payload::EVENT_TYPE => Some(event.payload().map(Self::$payload)),)+
                    _ => None,
                }
            }
        }

        $(
            impl $payload {
                /// The event type.
                pub const EVENT_TYPE: &'static str = stringify!($payload);
            }

            impl From<$payload> for DomainEvent {
                fn from(payload: $payload) -> Self {
                    Self::$payload(payload)
                }
            }
        )+
    };
}

domain_events! {
    BookCopyAddedToCirculation,
    BookCopyLentToReader,
    BookCopyRemovedFromCirculation,
    BookCopyReturnedByReader,
    CancelingReaderContractFailed,
    LendingBookToReaderFailed,
    ReaderContractCanceled,
    ReaderRegistered,
    RemovingBookFromCirculationFailed,
    ReturningBookFromReaderFailed,
}

impl DomainEvent {
    /// Converts the event to one that a command appends.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEvent`] if a text contains U+0000, or if the time is before 4713 BC.
    pub fn to_event(&self, command_id: Uuid) -> Result<Event, Error> {
        let event = self.encode_payload()?.with_occurred_at(self.occurred_at().timestamp())?;
        let metadata = Metadata::of_command(command_id, event.id());
        event.with_metadata(&metadata)
    }
}

impl TryFrom<&SequencedEvent> for DomainEvent {
    type Error = DecodeError;

    fn try_from(event: &SequencedEvent) -> Result<Self, DecodeError> {
        match Self::decode_payload(event.event()) {
            Some(Ok(decoded)) => Ok(decoded),
            Some(Err(source)) => Err(DecodeError::Payload {
                sequence_number: event.sequence_number(),
                event_type: event.event_type().to_owned(),
                source,
            }),
            None => Err(DecodeError::UnknownType {
                sequence_number: event.sequence_number(),
                event_type: event.event_type().to_owned(),
            }),
        }
    }
}

/// An event of the log that is not a valid event of the library.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// A field of the payload is missing or has the wrong type.
    #[error("event {sequence_number} has an invalid payload for its type {event_type:?}")]
    Payload {
        /// The position of the event.
        sequence_number: SequenceNumber,
        /// The type of the event.
        event_type: String,
        /// The cause.
        source: Error,
    },

    /// The library has no such event type.
    #[error("event {sequence_number} has the unknown type {event_type:?}")]
    UnknownType {
        /// The position of the event.
        sequence_number: SequenceNumber,
        /// The type of the event.
        event_type: String,
    },
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::fixtures::{added, at, book, canceled, lent, reader, registered, removed, returned};

    const COMMAND: Uuid = Uuid::from_u128(7);

    /// Returns an event of each type, with its type name and its payload in the log.
    fn all() -> Vec<(DomainEvent, &'static str, Value)> {
        let book_id = "00000000-0000-0000-0000-000000000001";
        let reader_id = "00000000-0000-0000-0000-000000000002";
        let occurred_at = "2026-03-01T08:03:00.000000Z";
        let of_book = json!({ "BookID": book_id, "OccurredAt": occurred_at });
        let of_reader = json!({ "ReaderID": reader_id, "OccurredAt": occurred_at });
        let of_both = merged(&of_book, &of_reader);
        let failed = |payload| merged(payload, &json!({ "FailureInfo": "it did not work" }));
        let data = json!({
            "ISBN": "978-0-14-043910-8",
            "Title": "Middlemarch",
            "Authors": "George Eliot",
            "Edition": "2nd",
            "Publisher": "Penguin",
            "PublicationYear": 1994,
        });
        let (book, reader, occurred_at) = (book(1), reader(2), at(3));
        let failure_info = "it did not work".to_owned();
        vec![
            (added(book, 3), "BookCopyAddedToCirculation", merged(&of_book, &data)),
            (removed(book, 3), "BookCopyRemovedFromCirculation", of_book.clone()),
            (lent(book, reader, 3), "BookCopyLentToReader", of_both.clone()),
            (returned(book, reader, 3), "BookCopyReturnedByReader", of_both.clone()),
            (
                registered(reader, 3),
                "ReaderRegistered",
                merged(&of_reader, &json!({ "Name": "Ada Lovelace" })),
            ),
            (canceled(reader, 3), "ReaderContractCanceled", of_reader.clone()),
            (
                LendingBookToReaderFailed {
                    book,
                    reader,
                    failure_info: failure_info.clone(),
                    occurred_at,
                }
                .into(),
                "LendingBookToReaderFailed",
                failed(&of_both),
            ),
            (
                ReturningBookFromReaderFailed {
                    book,
                    reader,
                    failure_info: failure_info.clone(),
                    occurred_at,
                }
                .into(),
                "ReturningBookFromReaderFailed",
                failed(&of_both),
            ),
            (
                RemovingBookFromCirculationFailed {
                    book,
                    failure_info: failure_info.clone(),
                    occurred_at,
                }
                .into(),
                "RemovingBookFromCirculationFailed",
                failed(&of_book),
            ),
            (
                CancelingReaderContractFailed { reader, failure_info, occurred_at }.into(),
                "CancelingReaderContractFailed",
                failed(&of_reader),
            ),
        ]
    }

    fn merged(one: &Value, other: &Value) -> Value {
        let fields = [one, other].map(|object| object.as_object().unwrap().clone());
        Value::Object(fields.into_iter().flatten().collect())
    }

    fn stored(event: Event) -> SequencedEvent {
        SequencedEvent::new(event, SequenceNumber::new(42), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn events_have_the_documented_types_and_payloads() {
        for (domain_event, event_type, payload) in all() {
            let event = domain_event.to_event(COMMAND).unwrap();

            assert_eq!(event.event_type(), event_type);
            assert_eq!(event.payload::<Value>().unwrap(), payload, "payload of {event_type}");
        }
    }

    #[test]
    fn decoding_a_stored_event_returns_the_same_event() {
        for (domain_event, _, _) in all() {
            let stored = stored(domain_event.to_event(COMMAND).unwrap());

            assert_eq!(DomainEvent::try_from(&stored).unwrap(), domain_event);
        }
    }

    #[test]
    fn events_have_the_time_in_their_payload() {
        for (domain_event, _, _) in all() {
            let event = domain_event.to_event(COMMAND).unwrap();

            assert_eq!(event.occurred_at(), at(3).timestamp());
        }
    }

    #[test]
    fn metadata_has_the_id_of_the_command() {
        let event = lent(book(1), reader(1), 3).to_event(COMMAND).unwrap();

        let metadata = json!({
            "MessageID": event.id(),
            "CausationID": COMMAND,
            "CorrelationID": COMMAND,
        });
        assert_eq!(event.metadata::<Value>().unwrap(), metadata);
    }

    #[test]
    fn an_event_of_an_unknown_type_is_an_error() {
        let stored = stored(Event::from_json("BookCopyBurned", "{}").unwrap());

        let refused = DomainEvent::try_from(&stored).unwrap_err();

        assert_eq!(refused.to_string(), r#"event 42 has the unknown type "BookCopyBurned""#);
    }

    #[test]
    fn an_event_without_a_required_field_is_an_error() {
        let stored = stored(Event::from_json("ReaderContractCanceled", "{}").unwrap());

        let refused = DomainEvent::try_from(&stored).unwrap_err();

        assert_eq!(
            refused.to_string(),
            r#"event 42 has an invalid payload for its type "ReaderContractCanceled""#
        );
    }
}

use std::fmt;

use eddyline::SequencedEvent;
use sha2::{Digest, Sha256};

/// A fingerprint of a log: the number of its events, and a hash of their positions and contents.
#[derive(Clone, Default)]
pub struct Fingerprint {
    events: u64,
    hash: Sha256,
}

impl Fingerprint {
    /// Adds the next event.
    pub fn add(&mut self, event: &SequencedEvent) {
        self.events += 1;
        self.hash.update(event.sequence_number().value().to_be_bytes());
        self.hash.update(event.id().as_bytes());
        for text in [event.event_type(), event.payload_json(), event.metadata_json()] {
            // With the lengths, the end of one text cannot be taken for the start of the next.
            self.hash.update(text.len().to_be_bytes());
            self.hash.update(text.as_bytes());
        }
    }

    /// Returns the number of events.
    pub fn events(&self) -> u64 {
        self.events
    }

    fn digest(&self) -> [u8; 32] {
        self.hash.clone().finalize().into()
    }
}

impl PartialEq for Fingerprint {
    fn eq(&self, other: &Self) -> bool {
        self.events == other.events && self.digest() == other.digest()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} events with hash ", self.events)?;
        self.digest()[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use eddyline::{Event, SequenceNumber};
    use jiff::Timestamp;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn event() -> Event {
        let event = Event::from_json("ReaderRegistered", r#"{"Name":"Ada Lovelace"}"#).unwrap();
        event.with_id(Uuid::from_u128(1)).unwrap()
    }

    fn of(event: Event, position: u64) -> Fingerprint {
        let position = SequenceNumber::new(position);
        let mut fingerprint = Fingerprint::default();
        fingerprint.add(&SequencedEvent::new(event, position, Timestamp::UNIX_EPOCH));
        fingerprint
    }

    #[test]
    fn equal_logs_have_equal_fingerprints() {
        assert!(of(event(), 1) == of(event(), 1));
        assert_eq!(of(event(), 1).to_string(), of(event(), 1).to_string());
    }

    #[test]
    fn depends_on_everything_that_an_event_has() {
        let payload = event().payload_json().to_owned();
        let id = event().id();
        let other_type = Event::from_json("ReaderForgotten", payload).unwrap();
        let other_payload = Event::from_json("ReaderRegistered", r#"{"Name":"Ada"}"#).unwrap();
        let different = [
            of(event(), 2),
            of(event().with_id(Uuid::from_u128(2)).unwrap(), 1),
            of(event().with_metadata(&json!({ "CorrelationID": 1 })).unwrap(), 1),
            of(other_type.with_id(id).unwrap(), 1),
            of(other_payload.with_id(id).unwrap(), 1),
            Fingerprint::default(),
        ];

        assert!(different.iter().all(|other| *other != of(event(), 1)));
    }
}

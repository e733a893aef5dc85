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

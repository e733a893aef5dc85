use std::fmt;

use eddyline::SequencedEvent;
use serde::{Deserialize, Serialize};

/// The errors that an audit has found.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Findings {
    /// The number of errors.
    pub count: u64,
    /// Descriptions of the first ones.
    pub first: Vec<String>,
}

impl Findings {
    /// The maximum number of errors that are described. Further ones are only counted.
    pub const MAX_LISTED: usize = 50;

    /// Adds an error.
    pub fn add(&mut self, finding: String) {
        self.count += 1;
        if self.first.len() < Self::MAX_LISTED {
            self.first.push(finding);
        }
    }

    /// Adds an error that an event shows.
    pub fn add_at(&mut self, event: &SequencedEvent, finding: &str) {
        let (position, event_type, id) = (event.sequence_number(), event.event_type(), event.id());
        self.add(format!("event {position}, {event_type} {id}: {finding}"));
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Writes the descriptions, each in a line after a word.
    pub fn write(&self, word: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.iter().try_for_each(|finding| writeln!(f, "{word}: {finding}"))?;
        match self.count - self.first.len() as u64 {
            0 => Ok(()),
            more => writeln!(f, "and {more} more"),
        }
    }
}

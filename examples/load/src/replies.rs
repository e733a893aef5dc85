//! What the handlers returned, for the audit.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::RangeInclusive;

use eddyline::SequenceNumber;
use uuid::Uuid;

/// What the handlers returned.
#[derive(Debug)]
pub struct Replies {
    /// The head of the log before the first reply.
    pub start: SequenceNumber,
    /// The events that the store acknowledged, each with the range that contains its position.
    pub stored: HashMap<Uuid, RangeInclusive<SequenceNumber>>,
    /// The events of appends whose outcome is unknown.
    pub unknown: HashSet<Uuid>,
    /// The number of rejected commands, by the type of the failure event.
    pub rejections: BTreeMap<&'static str, u64>,
    /// The errors that the clients found in replies during the load.
    pub findings: Vec<String>,
}

impl Replies {
    /// Creates an empty collection for the events after a position.
    pub fn after(start: SequenceNumber) -> Self {
        Self {
            start,
            stored: HashMap::new(),
            unknown: HashSet::new(),
            rejections: BTreeMap::new(),
            findings: Vec::new(),
        }
    }

    /// Adds an event that the store acknowledged.
    pub fn add_stored(&mut self, event: Uuid, positions: RangeInclusive<SequenceNumber>) {
        if self.stored.insert(event, positions).is_some() {
            self.findings.push(format!("event {event} was acknowledged twice"));
        }
    }

    /// Adds a rejected command, by the type of its failure event.
    pub fn add_rejection(&mut self, event_type: &'static str) {
        *self.rejections.entry(event_type).or_default() += 1;
    }

    /// Adds the replies of another client of the same log.
    pub fn merge(&mut self, other: Self) {
        let Self { start: _, stored, unknown, rejections, findings } = other;
        for (event, positions) in stored {
            self.add_stored(event, positions);
        }
        for (event_type, count) in rejections {
            *self.rejections.entry(event_type).or_default() += count;
        }
        self.unknown.extend(unknown);
        self.findings.extend(findings);
    }
}

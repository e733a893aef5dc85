use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::RangeInclusive;

use eddyline::SequenceNumber;
use uuid::Uuid;

/// Keeps account of what the store told the clients, for the audit.
pub(crate) struct Ledger {
    /// Where the log ended before the first of it.
    pub(crate) start: SequenceNumber,
    /// The events that the clients were told are stored, and between which places.
    pub(crate) stored: HashMap<Uuid, RangeInclusive<SequenceNumber>>,
    /// The events of which they were told that nobody knows.
    pub(crate) unknown: HashSet<Uuid>,
    /// How many rejections they were told of, by the type of the failure event.
    pub(crate) rejections: BTreeMap<&'static str, u64>,
    /// What they noticed themselves.
    pub(crate) findings: Vec<String>,
}

impl Ledger {
    /// Opens an account of what comes after this position.
    pub(crate) fn after(start: SequenceNumber) -> Self {
        Self {
            start,
            stored: HashMap::new(),
            unknown: HashSet::new(),
            rejections: BTreeMap::new(),
            findings: Vec::new(),
        }
    }

    pub(crate) fn store(&mut self, event: Uuid, places: RangeInclusive<SequenceNumber>) {
        if self.stored.insert(event, places).is_some() {
            self.findings.push(format!("event {event} was told to be stored twice"));
        }
    }

    pub(crate) fn reject(&mut self, event_type: &'static str) {
        *self.rejections.entry(event_type).or_default() += 1;
    }

    /// Takes over another account of the same log.
    pub(crate) fn add(&mut self, other: Self) {
        let Self { start: _, stored, unknown, rejections, findings } = other;
        for (event, places) in stored {
            self.store(event, places);
        }
        for (event_type, count) in rejections {
            *self.rejections.entry(event_type).or_default() += count;
        }
        self.unknown.extend(unknown);
        self.findings.extend(findings);
    }
}

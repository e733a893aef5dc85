use std::collections::HashMap;
use std::hash::Hash;

use eddyline::SequenceNumber;

use crate::domain::OccurredAt;

/// Holds what lasts, each with the time at which it began.
#[derive(Clone, Debug)]
pub(crate) struct Chronology<K, V = ()> {
    entries: HashMap<K, Entry<V>>,
}

/// Is what lasts under a key.
#[derive(Clone, Debug)]
pub(crate) struct Entry<V> {
    pub(crate) since: OccurredAt,
    sequence_number: SequenceNumber,
    pub(crate) value: V,
}

impl<K: Eq + Hash, V> Chronology<K, V> {
    /// Lets something begin, or begin anew.
    pub(crate) fn begin(&mut self, key: K, value: V, since: OccurredAt, at: SequenceNumber) {
        let entry = Entry { since, sequence_number: at, value };
        self.entries.insert(key, entry);
    }

    /// Lets it end, if it began.
    pub(crate) fn end(&mut self, key: &K) {
        self.entries.remove(key);
    }

    /// Gives access to what lasts under a key.
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|entry| &mut entry.value)
    }

    /// Returns what lasts, the oldest first; of equal times, what came first in the log.
    pub(crate) fn into_oldest_first(self) -> Vec<(K, Entry<V>)> {
        let mut entries: Vec<_> = self.entries.into_iter().collect();
        entries.sort_unstable_by_key(|(_, entry)| (entry.since, entry.sequence_number));
        entries
    }
}

impl<K, V> Default for Chronology<K, V> {
    fn default() -> Self {
        Self { entries: HashMap::new() }
    }
}

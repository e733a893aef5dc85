use std::collections::HashMap;
use std::hash::Hash;

use eddyline::SequenceNumber;

use crate::domain::OccurredAt;

/// A map whose entries have a start time, to list them in chronological order.
#[derive(Clone, Debug)]
pub(crate) struct ChronologicalMap<K, V = ()> {
    entries: HashMap<K, Entry<V>>,
}

/// A value with its start time.
#[derive(Clone, Debug)]
pub(crate) struct Entry<V> {
    pub(crate) since: OccurredAt,
    /// The position of the event, which orders entries with the same time.
    position: SequenceNumber,
    pub(crate) value: V,
}

impl<K: Eq + Hash, V> ChronologicalMap<K, V> {
    /// Inserts an entry, or replaces the one with this key.
    pub(crate) fn insert(&mut self, key: K, value: V, since: OccurredAt, position: SequenceNumber) {
        self.entries.insert(key, Entry { since, position, value });
    }

    /// Removes the entry with this key, if there is one.
    pub(crate) fn remove(&mut self, key: &K) {
        self.entries.remove(key);
    }

    /// Returns the value with this key.
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|entry| &mut entry.value)
    }

    /// Returns the entries, the oldest first. Entries with the same time are in the order of the
    /// log.
    pub(crate) fn into_oldest_first(self) -> Vec<(K, Entry<V>)> {
        let mut entries: Vec<_> = self.entries.into_iter().collect();
        entries.sort_unstable_by_key(|(_, entry)| (entry.since, entry.position));
        entries
    }
}

impl<K, V> Default for ChronologicalMap<K, V> {
    fn default() -> Self {
        Self { entries: HashMap::new() }
    }
}

//! The final log, and an index of the events that match each filter.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;
use uuid::Uuid;

use crate::event::Stamp;
use crate::filter::{FilterSpec, ItemSpec};

/// An event of the final log.
#[derive(Clone, Debug)]
pub struct Entry {
    pub position: u64,
    pub id: Uuid,
    pub event_type: String,
    /// The payload as JSON text, which needs less memory than a parsed value.
    pub payload: String,
    pub stamp: Stamp,
}

/// The positions of the events that match each filter.
pub struct Matches<'a> {
    positions: HashMap<&'a FilterSpec, Vec<u64>>,
}

impl<'a> Matches<'a> {
    /// Finds the events that match each filter.
    pub fn find(log: &[Entry], filters: impl IntoIterator<Item = &'a FilterSpec>) -> Self {
        let mut positions: HashMap<_, _> =
            filters.into_iter().map(|filter| (filter, Vec::new())).collect();
        let mut by_key: HashMap<String, Vec<&FilterSpec>> = HashMap::new();
        for &filter in positions.keys() {
            let keys = BTreeSet::from_iter(filter.items.iter().flat_map(index_keys_of_item));
            for key in keys {
                by_key.entry(key).or_default().push(filter);
            }
        }
        for entry in log {
            // The race appends valid JSON only; nothing matches other payloads.
            let payload = serde_json::from_str(&entry.payload).unwrap_or(Value::Null);
            let candidates: Vec<_> = index_keys_of_event(&entry.event_type, &payload)
                .iter()
                .filter_map(|key| by_key.get(key))
                .flatten()
                .collect();
            for filter in candidates {
                let Some(positions) = positions.get_mut(filter) else { continue };
                let is_new = positions.last().is_none_or(|&last| last < entry.position);
                if is_new && filter.matches(&entry.event_type, &payload) {
                    positions.push(entry.position);
                }
            }
        }
        Self { positions }
    }

    /// Counts the events that match the filter below a position.
    pub fn count_below(&self, filter: &FilterSpec, position: u64) -> usize {
        self.of(filter).partition_point(|&one| one < position)
    }

    /// Counts the events that match the filter between two positions, both exclusive.
    pub fn count_between(&self, filter: &FilterSpec, above: u64, below: u64) -> usize {
        self.count_below(filter, below).saturating_sub(self.count_below(filter, above + 1))
    }

    /// Returns the position of the first event above a position that matches the filter.
    pub fn first_above(&self, filter: &FilterSpec, position: u64) -> Option<u64> {
        let positions = self.of(filter);
        positions.get(positions.partition_point(|&one| one <= position)).copied()
    }

    /// Returns whether the event at a position matches the filter.
    pub fn contains(&self, filter: &FilterSpec, position: u64) -> bool {
        self.of(filter).binary_search(&position).is_ok()
    }

    fn of(&self, filter: &FilterSpec) -> &[u64] {
        self.positions.get(filter).map_or(&[], Vec::as_slice)
    }
}

/// Returns the index keys of an item: an event that matches the item has at least one of them. The
/// index keeps the check fast: comparing every event with every filter would take longer than the
/// race.
fn index_keys_of_item(item: &ItemSpec) -> Vec<String> {
    let predicates = if item.any_of.is_empty() {
        item.all_of.get(..1).unwrap_or_default()
    } else {
        &item.any_of
    };
    if predicates.is_empty() && item.types.is_empty() {
        return vec![EVERY_EVENT.to_owned()];
    }
    if predicates.is_empty() {
        return item.types.iter().map(|name| type_key(name)).collect();
    }
    predicates
        .iter()
        .filter_map(|(key, value)| {
            let mut leaves = Vec::new();
            add_leaves(key, value, &mut leaves);
            leaves.into_iter().next()
        })
        .collect()
}

fn index_keys_of_event(event_type: &str, payload: &Value) -> Vec<String> {
    let mut keys = vec![EVERY_EVENT.to_owned(), type_key(event_type)];
    for (key, value) in payload.as_object().into_iter().flatten() {
        add_leaves(key, value, &mut keys);
    }
    keys
}

fn type_key(event_type: &str) -> String {
    format!("type {event_type}")
}

fn add_leaves(path: &str, value: &Value, leaves: &mut Vec<String>) {
    match value {
        Value::Object(object) => object
            .iter()
            .for_each(|(key, value)| add_leaves(&format!("{path}.{key}"), value, leaves)),
        Value::Array(array) => {
            array.iter().for_each(|value| add_leaves(&format!("{path}[]"), value, leaves));
        }
        scalar => leaves.push(format!("{path}={scalar}")),
    }
}

/// The index key that every event has.
const EVERY_EVENT: &str = "";

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;
    use crate::boundary::{Boundaries, FilterKind};
    use crate::event::new_events;

    #[test]
    fn agrees_with_matching_every_event_against_every_filter() {
        let mut random = SmallRng::seed_from_u64(3);
        let boundaries = Boundaries::new(3);
        let log: Vec<_> = (1..400)
            .map(|position| {
                let kind = FilterKind::ALL[position as usize % FilterKind::ALL.len()];
                let content = boundaries.any(&mut random).event(kind, &mut random);
                let Some(event) = new_events([content], None).pop() else { unreachable!() };
                Entry {
                    position: position * 2,
                    id: event.id,
                    event_type: event.event_type,
                    payload: event.payload.to_string(),
                    stamp: event.stamp,
                }
            })
            .collect();
        let filters: Vec<_> = (0..60)
            .map(|index| boundaries.any(&mut random).filter(FilterKind::ALL[index % 6]))
            .collect();

        let matches = Matches::find(&log, &filters);

        for filter in &filters {
            let expected: Vec<_> = log
                .iter()
                .filter(|entry| {
                    let payload = serde_json::from_str(&entry.payload).unwrap();
                    filter.matches(&entry.event_type, &payload)
                })
                .map(|entry| entry.position)
                .collect();
            assert!(!expected.is_empty());
            assert_eq!(matches.of(filter), expected);
        }
    }

    #[test]
    fn counts_and_finds_by_position() {
        let filter = FilterSpec::from(ItemSpec {
            types: vec!["ReaderRegistered".into()],
            ..ItemSpec::default()
        });
        let matches = Matches { positions: HashMap::from([(&filter, vec![2, 5, 9])]) };

        assert_eq!(matches.count_below(&filter, 5), 1);
        assert_eq!(matches.count_below(&filter, 6), 2);
        assert_eq!(matches.first_above(&filter, 5), Some(9));
        assert_eq!(matches.first_above(&filter, 9), None);
        assert!(matches.contains(&filter, 5) && !matches.contains(&filter, 6));
    }
}

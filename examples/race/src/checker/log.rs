//! The log as it stands at the end, and which of its events match a filter.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;
use uuid::Uuid;

use crate::event::Stamp;
use crate::filter::{FilterSpec, ItemSpec};

/// An event of the final log.
#[derive(Clone, Debug)]
pub struct Entry {
    pub number: u64,
    pub id: Uuid,
    pub event_type: String,
    /// As JSON text, which takes less room than what it is parsed to.
    pub payload: String,
    pub stamp: Stamp,
}

/// The numbers of the events that match each of many filters.
pub struct Matches<'a> {
    numbers: HashMap<&'a FilterSpec, Vec<u64>>,
}

impl<'a> Matches<'a> {
    /// Matches every event against every filter.
    pub fn find(log: &[Entry], filters: impl IntoIterator<Item = &'a FilterSpec>) -> Self {
        let mut numbers: HashMap<_, _> =
            filters.into_iter().map(|filter| (filter, Vec::new())).collect();
        let mut by_clue: HashMap<String, Vec<&FilterSpec>> = HashMap::new();
        for &filter in numbers.keys() {
            let clues = BTreeSet::from_iter(filter.items.iter().flat_map(clues_of_item));
            for clue in clues {
                by_clue.entry(clue).or_default().push(filter);
            }
        }
        for entry in log {
            // A payload that is no JSON came from nobody here; nothing can match it.
            let payload = serde_json::from_str(&entry.payload).unwrap_or(Value::Null);
            let candidates: Vec<_> = clues_of_event(&entry.event_type, &payload)
                .iter()
                .filter_map(|clue| by_clue.get(clue))
                .flatten()
                .collect();
            for filter in candidates {
                let Some(numbers) = numbers.get_mut(filter) else { continue };
                let is_new = numbers.last().is_none_or(|&last| last < entry.number);
                if is_new && filter.matches(&entry.event_type, &payload) {
                    numbers.push(entry.number);
                }
            }
        }
        Self { numbers }
    }

    /// Counts the events of the filter below a number.
    pub fn count_below(&self, filter: &FilterSpec, number: u64) -> usize {
        self.of(filter).partition_point(|&one| one < number)
    }

    /// Counts the events of the filter between two numbers.
    pub fn count_between(&self, filter: &FilterSpec, above: u64, below: u64) -> usize {
        self.count_below(filter, below).saturating_sub(self.count_below(filter, above + 1))
    }

    /// Returns the first event of the filter above a number.
    pub fn first_above(&self, filter: &FilterSpec, number: u64) -> Option<u64> {
        let numbers = self.of(filter);
        numbers.get(numbers.partition_point(|&one| one <= number)).copied()
    }

    /// Returns whether the event with the number is of the filter.
    pub fn contains(&self, filter: &FilterSpec, number: u64) -> bool {
        self.of(filter).binary_search(&number).is_ok()
    }

    fn of(&self, filter: &FilterSpec) -> &[u64] {
        self.numbers.get(filter).map_or(&[], Vec::as_slice)
    }
}

/// Names traits of which an event must have one to match the item. Comparing every event with
/// every filter would take longer than the race.
fn clues_of_item(item: &ItemSpec) -> Vec<String> {
    let predicates = if item.any_of.is_empty() {
        item.all_of.get(..1).unwrap_or_default()
    } else {
        &item.any_of
    };
    if predicates.is_empty() && item.types.is_empty() {
        return vec![ANY.to_owned()];
    }
    if predicates.is_empty() {
        return item.types.iter().map(|name| type_clue(name)).collect();
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

fn clues_of_event(event_type: &str, payload: &Value) -> Vec<String> {
    let mut clues = vec![ANY.to_owned(), type_clue(event_type)];
    for (key, value) in payload.as_object().into_iter().flatten() {
        add_leaves(key, value, &mut clues);
    }
    clues
}

fn type_clue(event_type: &str) -> String {
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

/// What every event has.
const ANY: &str = "";

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;
    use crate::boundary::{Boundaries, FilterKind};
    use crate::event::new_events;

    #[test]
    fn finds_what_comparing_everything_finds() {
        let mut random = SmallRng::seed_from_u64(3);
        let boundaries = Boundaries::new(3);
        let log: Vec<_> = (1..400)
            .map(|number| {
                let kind = FilterKind::ALL[number as usize % FilterKind::ALL.len()];
                let content = boundaries.any(&mut random).event(kind, &mut random);
                let Some(event) = new_events([content], None).pop() else { unreachable!() };
                Entry {
                    number: number * 2,
                    id: event.id,
                    event_type: event.event_type,
                    payload: event.payload.to_string(),
                    stamp: event.stamp,
                }
            })
            .collect();
        let filters: Vec<_> = (0..60)
            .map(|turn| boundaries.any(&mut random).filter(FilterKind::ALL[turn % 6]))
            .collect();

        let matches = Matches::find(&log, &filters);

        for filter in &filters {
            let expected: Vec<_> = log
                .iter()
                .filter(|entry| {
                    let payload = serde_json::from_str(&entry.payload).unwrap();
                    filter.matches(&entry.event_type, &payload)
                })
                .map(|entry| entry.number)
                .collect();
            assert!(!expected.is_empty());
            assert_eq!(matches.of(filter), expected);
        }
    }

    #[test]
    fn counts_and_finds_by_number() {
        let filter = FilterSpec::from(ItemSpec {
            types: vec!["ReaderRegistered".into()],
            ..ItemSpec::default()
        });
        let matches = Matches { numbers: HashMap::from([(&filter, vec![2, 5, 9])]) };

        assert_eq!(matches.count_below(&filter, 5), 1);
        assert_eq!(matches.count_below(&filter, 6), 2);
        assert_eq!(matches.first_above(&filter, 5), Some(9));
        assert_eq!(matches.first_above(&filter, 9), None);
        assert!(matches.contains(&filter, 5) && !matches.contains(&filter, 6));
    }
}

use std::collections::{HashMap, VecDeque};
use std::hash::RandomState;
use std::sync::{Arc, OnceLock};

use crate::filter::IndexLookup;
use crate::store::append::json_bytes;
use crate::{Bookmark, Event, Filter, SequenceNumber};

/// The last events of a log, as one connection has seen them: every event above `start` up to
/// `head`.
///
/// The tail shows, without a request to the server, whether one of its events breaks a condition.
/// Only the server knows, under the log's lock, whether `head` is still the log's head. If it is,
/// the tail holds every event above `start` (Lemma 3).
#[derive(Default)]
pub(super) struct LogTail {
    /// `None` if nothing is known of the log.
    range: Option<Range>,
    events: EventIndex,
}

#[derive(Clone, Copy)]
struct Range {
    start: SequenceNumber,
    head: Bookmark,
}

impl LogTail {
    /// Ends the tail: nothing is known any more.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Restarts the tail at a head of the log, without events.
    pub(super) fn restart(&mut self, head: Bookmark) {
        self.events.clear();
        self.range = Some(Range { start: head.position(), head });
    }

    /// Returns the log's head as it was last seen.
    pub(super) fn head(&self) -> Option<Bookmark> {
        self.range.map(|range| range.head)
    }

    /// Adds the event after the head: `events[index]`, with its index terms. Events must be added
    /// in the log's order, and none may be left out. Nothing happens if the tail has no range.
    pub(super) fn add(
        &mut self,
        position: SequenceNumber,
        events: &Arc<[Event]>,
        index: usize,
        terms: Option<&[u64]>,
    ) {
        let Some(range) = &mut self.range else { return };
        range.head = range.head.at(position);
        if !self.events.add(position, events, index, terms) {
            let head = range.head;
            return self.restart(head);
        }
        while self.events.exceeds_limits() {
            range.start = self.events.remove_first().unwrap_or(position);
        }
    }

    /// Returns whether the tail holds every event after the position, up to the head.
    pub(super) fn covers(&self, position: SequenceNumber) -> bool {
        self.range.is_some_and(|range| (range.start..=range.head.position()).contains(&position))
    }

    /// Returns the first event after the position that matches.
    pub(super) fn first_match(
        &self,
        filter: &Filter,
        lookup: &IndexLookup,
        after: SequenceNumber,
    ) -> Option<SequenceNumber> {
        self.events.first_match(filter, lookup, after)
    }
}

/// Events in ascending order of their positions, indexed by terms.
#[derive(Default)]
pub(super) struct EventIndex {
    events: VecDeque<IndexedEvent>,
    /// How many events were removed. The index of an event counts them, so that it never changes.
    removed_events: u64,
    /// An entry for each event and each of its terms, in the order of the events.
    entries: VecDeque<TermEntry>,
    /// How many entries were removed. The index of an entry counts them as well.
    removed_entries: u64,
    /// The index of the newest entry of each term.
    newest: HashMap<u64, u64>,
    json_bytes: usize,
}

struct IndexedEvent {
    position: SequenceNumber,
    /// The events of the whole append, which stay in memory as long as this one.
    events: Arc<[Event]>,
    index: usize,
}

/// An entry of the index: an event has this term.
struct TermEntry {
    term: u64,
    /// The index of the event.
    event: u64,
    /// The index of the previous entry of the same term, which may have been removed.
    older: Option<u64>,
}

impl IndexedEvent {
    fn event(&self) -> &Event {
        &self.events[self.index]
    }
}

impl EventIndex {
    /// Creates an index with capacity for `events` events of a few terms each.
    pub(super) fn with_capacity(events: usize) -> Self {
        Self { newest: HashMap::with_capacity(events * 4), ..Self::default() }
    }

    fn clear(&mut self) {
        *self = Self::default();
    }

    /// Adds an event above all others. Returns `false` if it is too large to be kept.
    pub(super) fn add(
        &mut self,
        position: SequenceNumber,
        events: &Arc<[Event]>,
        index: usize,
        terms: Option<&[u64]>,
    ) -> bool {
        let Some(terms) = terms else { return false };
        let event = self.removed_events + self.events.len() as u64;
        for &term in terms {
            let entry = self.removed_entries + self.entries.len() as u64;
            let older = self.newest.insert(term, entry);
            self.entries.push_back(TermEntry { term, event, older });
        }
        self.json_bytes += json_bytes([&events[index]]);
        self.events.push_back(IndexedEvent { position, events: events.clone(), index });
        true
    }

    fn exceeds_limits(&self) -> bool {
        self.events.len() > MAX_EVENTS || self.json_bytes > MAX_BYTES
    }

    fn remove_first(&mut self) -> Option<SequenceNumber> {
        let first = self.events.pop_front()?;
        while let Some(entry) = self.entries.front()
            && entry.event == self.removed_events
        {
            if self.newest.get(&entry.term) == Some(&self.removed_entries) {
                self.newest.remove(&entry.term);
            }
            self.entries.pop_front();
            self.removed_entries += 1;
        }
        self.removed_events += 1;
        self.json_bytes -= json_bytes([first.event()]);
        Some(first.position)
    }

    /// Returns the first event after the position that matches.
    pub(super) fn first_match(
        &self,
        filter: &Filter,
        lookup: &IndexLookup,
        after: SequenceNumber,
    ) -> Option<SequenceNumber> {
        let is_newer = |one: &&IndexedEvent| one.position > after;
        let matches = |one: &&IndexedEvent| filter.matches(one.event());
        let position = |one: &IndexedEvent| one.position;
        let newest_first = self.events.iter().rev();
        match lookup {
            IndexLookup::FullScan => {
                newest_first.take_while(is_newer).filter(matches).map(position).last()
            }
            IndexLookup::Terms(terms) => {
                let found = |term| self.with_term(term).take_while(is_newer).filter(matches);
                terms.iter().flat_map(|term| found(*term)).map(position).min()
            }
        }
    }

    /// Returns whether an event matches.
    pub(super) fn has_match(&self, filter: &Filter, lookup: &IndexLookup) -> bool {
        let matches = |one: &IndexedEvent| filter.matches(one.event());
        match lookup {
            IndexLookup::FullScan => self.events.iter().any(matches),
            IndexLookup::Terms(terms) => {
                terms.iter().any(|term| self.with_term(*term).any(matches))
            }
        }
    }

    /// Returns the events that have a term, the newest first.
    fn with_term(&self, term: u64) -> impl Iterator<Item = &IndexedEvent> {
        let offset = |entry: u64| usize::try_from(entry.checked_sub(self.removed_entries)?).ok();
        let entry = move |index: u64| self.entries.get(offset(index)?);
        let newest = self.newest.get(&term).copied();
        let entries =
            std::iter::successors(newest.and_then(entry), move |one| one.older.and_then(entry));
        let event = |entry: &TermEntry| usize::try_from(entry.event - self.removed_events).ok();
        entries.filter_map(move |entry| self.events.get(event(entry)?))
    }
}

/// Returns the hasher of terms. It is the same in the whole process.
pub(super) fn hasher() -> &'static RandomState {
    static HASHER: OnceLock<RandomState> = OnceLock::new();
    HASHER.get_or_init(RandomState::new)
}

/// Returns the index terms of an event, or `None` if it is too large to be kept.
pub(super) fn terms_of(event: &Event) -> Option<Box<[u64]>> {
    if event.payload_json().len() > MAX_PAYLOAD_BYTES {
        return None;
    }
    event.terms(hasher()).map(Vec::into_boxed_slice)
}

/// The most events that are kept.
const MAX_EVENTS: usize = 4_096;
/// The most bytes of JSON of the events that are kept. The memory may be a multiple of that: the
/// first event that is kept keeps all events of its append.
const MAX_BYTES: usize = 4 << 20;
/// The largest payload that is kept.
const MAX_PAYLOAD_BYTES: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::filter::{NecessaryKey, NecessaryMatch};

    fn payload() -> impl Strategy<Value = String> {
        let field = select(vec![
            r#""a":1"#,
            r#""a":1.0"#,
            r#""a":"1""#,
            r#""a":"""#,
            r#""a":2,"a":10e-1"#,
            r#""\u0061":"\u0062""#,
            r#""b":{"c":{"d":null},"e":[]}"#,
            r#""b":{"c":{"d":false}}"#,
            r#""b":[1]"#,
            r#""c":true"#,
            r#""d":["x"]"#,
            r#""d":["y",{"e":[1]},"\u0078","x"]"#,
            r#""d":[[1,2]]"#,
            r#""d":"x""#,
            r#""d":["x",0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,[1]]"#,
        ]);
        vec(field, 0..3).prop_map(|fields| format!("{{{}}}", fields.join(",")))
    }

    fn event() -> impl Strategy<Value = Event> {
        (select(vec!["A", "B", "C"]), payload())
            .prop_map(|(event_type, payload)| Event::from_json(event_type, payload).unwrap())
    }

    fn filter() -> impl Strategy<Value = Filter> {
        let json = serde_json::json!({ "c": { "d": null } });
        let item = select(vec![
            Filter::types(["A"]),
            Filter::types(["B", "C"]).any_of([("a", 1)]),
            Filter::any_of([("a", 1)]),
            Filter::any_of([("a", "1"), ("a", "b")]),
            Filter::any_of([("b", &json)]),
            Filter::all_of([("b", &json)]).all_of([("c", true)]),
            Filter::types(["A"]).any_of([("c", true)]),
            Filter::any_of([("b", [1.0])]),
            Filter::any_of([("d", ["x"])]),
            Filter::any_of([("d", ["x", "y"]), ("d", ["z", "y"])]),
            Filter::any_of([("d", [[1]])]),
            Filter::any_of([("d", [serde_json::json!({ "e": [1] })])]),
            Filter::all_of([("d", ["x"])]).all_of([("a", 1)]),
            Filter::all_of([("d", ["x"])]).all_of([("b", &json)]),
        ]);
        let items = vec(item, 1..3).prop_map(|items| {
            items.into_iter().reduce(crate::filter::FilterBuilder::or).unwrap().build().unwrap()
        });
        prop_oneof![9 => items, 1 => Just(Filter::everything())]
    }

    proptest! {
        /// The tail finds the same event as a search through all of its events. If a filter matches
        /// an event, the event meets one of the filter's necessary matches.
        #[test]
        fn the_index_finds_what_a_search_through_all_events_finds(
            events in vec((event(), 1..4_u64), 0..30),
            removed in 0..10_usize,
            filters in vec(filter(), 1..6),
            after in 0..60_u64,
        ) {
            let (mut tail, mut number) = (LogTail::default(), 0);
            tail.restart(Bookmark::default());
            let mut list = Vec::new();
            for (event, step) in events {
                number += step;
                let position = SequenceNumber::new(number);
                tail.add(position, &[event.clone()].into(), 0, terms_of(&event).as_deref());
                list.push((position, event));
            }
            for _ in 0..removed.min(list.len()) {
                prop_assert_eq!(tail.events.remove_first(), Some(list.remove(0).0));
            }
            let after = SequenceNumber::new(after);
            for filter in filters {
                for (_, event) in list.iter().filter(|(_, event)| filter.matches(event)) {
                    let met = filter.necessary_matches().iter().any(|one| is_met(one, event));
                    prop_assert!(met, "{}", filter.canonical());
                }
                let mut found =
                    list.iter().filter(|(position, one)| *position > after && filter.matches(one));
                let found = found.next().map(|(position, _)| *position);
                let lookup = filter.lookup(hasher());
                let first = tail.first_match(&filter, &lookup, after);
                prop_assert_eq!(first, found, "{}", filter.canonical());
            }
            prop_assert_eq!(tail.covers(after), after.value() <= number);
        }
    }

    fn is_met(required: &NecessaryMatch<'_>, event: &Event) -> bool {
        let value: serde_json::Value = serde_json::from_str(&required.value).unwrap();
        let has = |key: &str, value: &serde_json::Value| {
            Filter::any_of([(key, value)]).build().unwrap().matches(event)
        };
        match required.key {
            NecessaryKey::Any => value == serde_json::json!(true),
            NecessaryKey::Element(key) => has(key, &serde_json::json!([value])),
            NecessaryKey::Field(key) => has(key, &value),
            NecessaryKey::Type => value == serde_json::json!(event.event_type()),
        }
    }

    #[test]
    fn a_tail_covers_only_the_events_that_it_holds() {
        let mut tail = LogTail::default();
        assert!(!tail.covers(SequenceNumber::ZERO));
        tail.restart(Bookmark::default());
        let event = |bytes| -> Arc<[Event]> {
            let payload = serde_json::json!({ "a": "x".repeat(bytes) });
            [Event::new("A", &payload).unwrap()].into()
        };
        let small = event(1);
        let more = MAX_EVENTS as u64 + 3;
        for number in 1..=more {
            tail.add(SequenceNumber::new(number), &small, 0, terms_of(&small[0]).as_deref());
        }
        for (position, covered) in
            [(0, false), (2, false), (3, true), (more, true), (more + 1, false)]
        {
            assert_eq!(tail.covers(SequenceNumber::new(position)), covered, "{position}");
        }
        // A large event is not kept, so the tail restarts after it.
        let large = event(MAX_PAYLOAD_BYTES);
        tail.add(SequenceNumber::new(more + 1), &large, 0, terms_of(&large[0]).as_deref());
        assert!(!tail.covers(SequenceNumber::new(more)));
        assert!(tail.covers(SequenceNumber::new(more + 1)));
        assert_eq!((tail.events.json_bytes, tail.events.newest.len()), (0, 0));
        tail.clear();
        assert!(!tail.covers(SequenceNumber::new(more + 1)));
    }
}

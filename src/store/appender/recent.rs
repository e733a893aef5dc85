use std::collections::{HashMap, VecDeque};
use std::hash::RandomState;
use std::sync::Arc;

use crate::filter::Lookup;
use crate::{Event, Filter, SequenceNumber};

/// The newest stretch of a log, as this process knows it: every event above its beginning, up to
/// its end.
///
/// Whether an event in there breaks a condition is found without asking the server. Whether the log
/// still ends where the stretch does, only the server knows, under the log's lock.
#[derive(Default)]
pub(super) struct Recent {
    /// `None` as long as nothing is known.
    stretch: Option<Stretch>,
    events: Events,
}

#[derive(Clone, Copy)]
struct Stretch {
    beginning: SequenceNumber,
    end: SequenceNumber,
}

impl Recent {
    /// Forgets everything.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Knows from here on, and nothing from before.
    pub(super) fn restart(&mut self, end: SequenceNumber) {
        self.events.clear();
        self.stretch = Some(Stretch { beginning: end, end });
    }

    /// Returns where the log ended when it was last seen.
    pub(super) fn end(&self) -> Option<SequenceNumber> {
        self.stretch.map(|stretch| stretch.end)
    }

    /// Adds the event that came next, by the list that it is part of. Events must come in the log's
    /// order, without one left out.
    pub(super) fn add(&mut self, number: SequenceNumber, events: &Arc<[Event]>, index: usize) {
        let Some(stretch) = &mut self.stretch else { return };
        stretch.end = number;
        if !self.events.add(number, events, index) {
            return self.restart(number);
        }
        while self.events.is_over_full() {
            stretch.beginning = self.events.remove_first().unwrap_or(number);
        }
    }

    /// Returns whether every event after the position is known, up to the end.
    pub(super) fn covers(&self, position: SequenceNumber) -> bool {
        self.stretch.is_some_and(|stretch| stretch.beginning <= position && position <= stretch.end)
    }

    /// Returns whether an event after the position matches.
    pub(super) fn has_match(&self, filter: &Filter, after: SequenceNumber) -> bool {
        self.events.has_match(filter, after)
    }
}

/// Events in ascending order, to be found by their terms.
#[derive(Default)]
pub(super) struct Events {
    hasher: RandomState,
    known: VecDeque<Known>,
    by_term: HashMap<u64, VecDeque<SequenceNumber>>,
    bytes: usize,
}

struct Known {
    number: SequenceNumber,
    events: Arc<[Event]>,
    index: usize,
    terms: Vec<u64>,
}

impl Known {
    fn event(&self) -> &Event {
        &self.events[self.index]
    }
}

impl Events {
    fn clear(&mut self) {
        self.known.clear();
        self.by_term.clear();
        self.bytes = 0;
    }

    /// Adds an event above all others; `false` where it is too large to be kept.
    pub(super) fn add(
        &mut self,
        number: SequenceNumber,
        events: &Arc<[Event]>,
        index: usize,
    ) -> bool {
        let event = &events[index];
        if event.payload_json().len() > MAX_PAYLOAD_BYTES {
            return false;
        }
        let Some(terms) = event.terms(&self.hasher) else { return false };
        for term in &terms {
            self.by_term.entry(*term).or_default().push_back(number);
        }
        self.bytes += bytes_of(event);
        self.known.push_back(Known { number, events: events.clone(), index, terms });
        true
    }

    fn is_over_full(&self) -> bool {
        self.known.len() > MAX_EVENTS || self.bytes > MAX_BYTES
    }

    fn remove_first(&mut self) -> Option<SequenceNumber> {
        let first = self.known.pop_front()?;
        for term in &first.terms {
            if let Some(numbers) = self.by_term.get_mut(term) {
                numbers.pop_front();
                if numbers.is_empty() {
                    self.by_term.remove(term);
                }
            }
        }
        self.bytes -= bytes_of(first.event());
        Some(first.number)
    }

    /// Returns whether an event after the position matches.
    pub(super) fn has_match(&self, filter: &Filter, after: SequenceNumber) -> bool {
        let newest = self.known.back().map(|known| known.number);
        if newest.is_none_or(|newest| newest <= after) {
            return false;
        }
        match filter.lookup(&self.hasher) {
            Lookup::Everywhere => {
                let newer = self.known.iter().rev().take_while(|known| known.number > after);
                newer.into_iter().any(|known| filter.matches(known.event()))
            }
            Lookup::Under(terms) => terms.iter().any(|term| {
                let numbers = self.by_term.get(term).into_iter().flatten().rev();
                numbers.take_while(|number| **number > after).any(|number| {
                    self.find(*number).is_some_and(|known| filter.matches(known.event()))
                })
            }),
        }
    }

    fn find(&self, number: SequenceNumber) -> Option<&Known> {
        let at = self.known.binary_search_by_key(&number, |known| known.number).ok()?;
        self.known.get(at)
    }
}

fn bytes_of(event: &Event) -> usize {
    event.payload_json().len() + event.metadata_json().len()
}

/// The most events that are kept.
const MAX_EVENTS: usize = 4_096;
/// The most bytes of JSON that are kept, but for the last event's.
const MAX_BYTES: usize = 4 << 20;
/// The largest payload that is worth being kept.
pub(super) const MAX_PAYLOAD_BYTES: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

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
        ]);
        let items = vec(item, 1..3).prop_map(|items| {
            items.into_iter().reduce(crate::FilterBuilder::or).unwrap().build().unwrap()
        });
        prop_oneof![9 => items, 1 => Just(Filter::everything())]
    }

    proptest! {
        /// The law of terms, and that nothing is lost between them and the events.
        #[test]
        fn finds_what_a_look_through_all_finds(
            events in vec((event(), 1..4_u64), 0..30),
            removed in 0..10_usize,
            filters in vec(filter(), 1..6),
            after in 0..60_u64,
        ) {
            let (mut recent, mut number) = (Recent::default(), 0);
            recent.restart(SequenceNumber::ZERO);
            let mut list = Vec::new();
            for (event, step) in events {
                number += step;
                let place = SequenceNumber::new(number);
                recent.add(place, &vec![event.clone()].into(), 0);
                list.push((place, event));
            }
            for _ in 0..removed.min(list.len()) {
                prop_assert_eq!(recent.events.remove_first(), Some(list.remove(0).0));
            }
            let after = SequenceNumber::new(after);
            for filter in filters {
                let found = list.iter().any(|(place, one)| *place > after && filter.matches(one));
                prop_assert_eq!(recent.has_match(&filter, after), found, "{}", filter.canonical());
            }
            prop_assert_eq!(recent.covers(after), after.value() <= number);
        }
    }

    #[test]
    fn covers_no_more_than_it_keeps() {
        let mut recent = Recent::default();
        assert!(!recent.covers(SequenceNumber::ZERO));
        recent.restart(SequenceNumber::ZERO);
        let event = |bytes| -> Arc<[Event]> {
            let payload = serde_json::json!({ "a": "x".repeat(bytes) });
            [Event::new("A", &payload).unwrap()].into()
        };
        let small = event(1);
        let more = MAX_EVENTS as u64 + 3;
        for number in 1..=more {
            recent.add(SequenceNumber::new(number), &small, 0);
        }
        for (position, covered) in
            [(0, false), (2, false), (3, true), (more, true), (more + 1, false)]
        {
            assert_eq!(recent.covers(SequenceNumber::new(position)), covered, "{position}");
        }
        // As large ones are not kept, nothing before them counts.
        recent.add(SequenceNumber::new(more + 1), &event(MAX_PAYLOAD_BYTES), 0);
        assert!(!recent.covers(SequenceNumber::new(more)));
        assert!(recent.covers(SequenceNumber::new(more + 1)));
        assert_eq!((recent.events.bytes, recent.events.by_term.len()), (0, 0));
        recent.forget();
        assert!(!recent.covers(SequenceNumber::new(more + 1)));
    }
}

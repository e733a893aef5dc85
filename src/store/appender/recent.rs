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

//! The log, as plain SQL reads it from a primary.

use std::collections::HashMap;

use crate::answer::{Content, Scope};
use crate::entry::{Book, Entry, Summary};

/// The events of a log.
#[derive(Clone, Debug, Default)]
pub struct Log {
    all: Prefixes,
    books: HashMap<Book, Prefixes>,
}

/// Events in ascending order, each with the summary of the events up to it.
#[derive(Clone, Debug, Default)]
struct Prefixes(Vec<(Entry, Summary)>);

impl Log {
    /// Adds the next event. Returns a description if it is not the next one of the log or of its
    /// book.
    pub fn add(&mut self, entry: Entry) -> Result<(), String> {
        let book = self.books.entry(entry.book).or_default();
        let expected = book.last().map_or(1, |last| last.number + 1);
        let head = self.all.last().map_or(0, |last| last.position);
        let is_next = entry.position > head && entry.number == expected;
        book.push(entry);
        self.all.push(entry);
        match is_next {
            true => Ok(()),
            false => Err(format!("{entry} follows {head}, instead of event {expected}")),
        }
    }

    /// Returns the position of the last event.
    pub fn head(&self) -> u64 {
        self.all.last().map_or(0, |last| last.position)
    }

    /// Returns the number of events.
    pub fn len(&self) -> usize {
        self.all.0.len()
    }

    /// Returns whether this event is in the log, at its position.
    pub fn contains(&self, entry: &Entry) -> bool {
        self.all.up_to(entry.position).is_some_and(|(last, _)| last == entry)
    }

    /// Returns whether an answer is what the log holds, and its position is that of an event.
    pub fn has(&self, content: &Content) -> bool {
        self.has_position(content.position) && self.summary(content) == content.summary
    }

    /// Returns the summary of the events that the log holds for the query of an answer. The answer
    /// of a standby that has not reached the query's first position has no events.
    pub fn summary(&self, Content { scope, after, position, .. }: &Content) -> Summary {
        let mut summary = Summary::default();
        let books: Vec<_> = match scope {
            Scope::All => vec![&self.all],
            Scope::Books(books) => books.iter().filter_map(|book| self.books.get(book)).collect(),
        };
        for prefixes in books {
            let up_to =
                |position| prefixes.up_to(position).map_or_else(Summary::default, |it| it.1);
            summary += up_to(*position) - up_to(*after.min(position));
        }
        summary
    }

    /// Returns whether an event has this position. Zero is the position of an empty log.
    pub fn has_position(&self, position: u64) -> bool {
        position == 0 || self.all.up_to(position).is_some_and(|(last, _)| last.position == position)
    }
}

impl Prefixes {
    fn push(&mut self, entry: Entry) {
        let mut summary = self.0.last().map_or_else(Summary::default, |(_, summary)| *summary);
        summary += &entry;
        self.0.push((entry, summary));
    }

    fn last(&self) -> Option<&Entry> {
        self.0.last().map(|(entry, _)| entry)
    }

    /// Returns the last event at or below a position, with the summary of the events up to it.
    fn up_to(&self, position: u64) -> Option<&(Entry, Summary)> {
        let count = self.0.partition_point(|(entry, _)| entry.position <= position);
        self.0.get(count.checked_sub(1)?)
    }
}

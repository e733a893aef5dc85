//! The answers that readers got, and what they were promised.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use eddyline::{Error, Filter};

use crate::entry::{Book, Entry, LENT, Summary};

/// What a reader asks for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Ask {
    /// The answer of any replica.
    Plain,
    /// The log at a position that a writer or another reader got, or later.
    AtLeast,
    /// Every event that was acknowledged some time before the read.
    MaxStaleness,
    /// At least what the same session has appended and read before.
    Causal,
    /// The events after those read before.
    Tail,
    /// The log at a position, from the primary if no replica has reached it.
    Fallback,
}

impl Ask {
    pub const ALL: [Self; 6] =
        [Self::Plain, Self::AtLeast, Self::MaxStaleness, Self::Causal, Self::Tail, Self::Fallback];
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Plain => "plain",
            Self::AtLeast => "at least",
            Self::MaxStaleness => "max staleness",
            Self::Causal => "causal",
            Self::Tail => "tail",
            Self::Fallback => "fallback",
        })
    }
}

/// An answer of the store.
#[derive(Clone, Debug)]
pub struct Answer {
    pub ask: Ask,
    /// The server that answered, as the answer names it.
    pub server: String,
    /// A moment before the read.
    pub called: Instant,
    pub content: Content,
    /// The first event that is out of order or outside of the query.
    pub disorder: Option<String>,
    pub demands: Vec<Demand>,
}

/// The events of an answer together with its position.
#[derive(Clone, Debug)]
pub struct Content {
    pub scope: Scope,
    /// The position after which the events begin.
    pub after: u64,
    /// The position of the log that the answer represents.
    pub position: u64,
    pub summary: Summary,
}

/// The events that a query selects.
#[derive(Clone, Debug)]
pub enum Scope {
    All,
    Books(Vec<Book>),
}

/// A requirement for an answer.
#[derive(Clone, Debug)]
pub enum Demand {
    /// The answer shows a log with this event.
    Contains(Entry),
    /// The answer shows the log of an earlier answer, at the same position or later.
    Extends(Content),
    /// The answer shows every event that was acknowledged this long before the read was called.
    Within(Duration),
}

impl Content {
    /// Summarizes the events of an answer, and looks for the first one that contradicts the query
    /// or the position.
    pub fn new(
        scope: Scope,
        after: u64,
        position: u64,
        entries: &[Entry],
    ) -> (Self, Option<String>) {
        let summary = Summary::of(entries);
        let content = Self { scope, after, position, summary };
        let disorder = content.disorder(entries);
        (content, disorder)
    }

    /// Adds the events of an earlier answer, which this one continues.
    pub fn continue_after(&mut self, earlier: &Self) {
        self.after = earlier.after;
        self.summary += earlier.summary;
    }

    fn disorder(&self, entries: &[Entry]) -> Option<String> {
        let mut last = self.after;
        let mut numbers = HashMap::new();
        for entry in entries {
            if !(last + 1..=self.position).contains(&entry.position) {
                return Some(format!(
                    "{entry} follows {last}, and the answer is at {}",
                    self.position
                ));
            }
            last = entry.position;
            match &self.scope {
                Scope::Books(books) if !books.contains(&entry.book) => {
                    return Some(format!("{entry} is of a book that was not asked for"));
                }
                _ => {}
            }
            let expected = match numbers.insert(entry.book, entry.number) {
                Some(number) => number + 1,
                None if self.after == 0 => 1,
                // A part of a history begins with any number.
                None => entry.number,
            };
            if entry.number != expected {
                return Some(format!("{entry} is there instead of event {expected}"));
            }
        }
        None
    }
}

impl Scope {
    /// Returns the filter of a query.
    pub fn filter(&self) -> Result<Filter, Error> {
        let events = Filter::types([LENT]);
        match self {
            Self::All => events.build(),
            Self::Books(books) => {
                events.any_of(books.iter().map(|book| ("BookID", book.to_string()))).build()
            }
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all books"),
            Self::Books(books) => {
                let books: Vec<_> = books.iter().map(Book::to_string).collect();
                f.write_str(&books.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const BOOK: Book = Book { writer: 1, volume: 1 };
    const OTHER: Book = Book { writer: 2, volume: 1 };

    fn entry(position: u64, book: Book, number: u32) -> Entry {
        Entry { position, id: Uuid::from_u128(position.into()), book, number }
    }

    fn disorder(after: u64, position: u64, entries: &[Entry]) -> Option<String> {
        Content::new(Scope::Books(vec![BOOK]), after, position, entries).1
    }

    #[test]
    fn accepts_a_prefix_and_a_part_of_a_book() {
        assert_eq!(disorder(0, 9, &[entry(3, BOOK, 1), entry(7, BOOK, 2)]), None);
        assert_eq!(disorder(3, 7, &[entry(7, BOOK, 2)]), None);
        assert_eq!(disorder(0, 0, &[]), None);
    }

    #[test]
    fn finds_missing_events_and_events_that_do_not_belong() {
        for (after, position, entries) in [
            (0, 9, vec![entry(7, BOOK, 2)]),
            (0, 9, vec![entry(3, BOOK, 1), entry(7, BOOK, 3)]),
            (3, 9, vec![entry(5, BOOK, 4), entry(7, BOOK, 6)]),
            (0, 9, vec![entry(7, BOOK, 1), entry(3, BOOK, 2)]),
            (0, 6, vec![entry(7, BOOK, 1)]),
            (7, 9, vec![entry(7, BOOK, 1)]),
            (0, 9, vec![entry(7, OTHER, 1)]),
        ] {
            assert!(disorder(after, position, &entries).is_some(), "{entries:?}");
        }
    }
}

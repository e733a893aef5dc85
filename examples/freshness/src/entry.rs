//! The events of the log.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::{AddAssign, Sub};

use eddyline::{Error, Event, SequencedEvent};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A book. All of its events are appended by one writer, one after the other, and their numbers
/// count from 1.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Book {
    pub writer: u16,
    /// The number of the book among those of its writer, who changes the book regularly so that
    /// histories stay short.
    pub volume: u32,
}

/// An event as the log holds it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Entry {
    pub position: u64,
    pub id: Uuid,
    pub book: Book,
    pub number: u32,
}

/// The payload of an event.
#[derive(Deserialize, Serialize)]
struct Payload {
    #[serde(rename = "BookID")]
    book: Book,
    #[serde(rename = "Number")]
    number: u32,
}

impl Entry {
    /// Returns the entry that an event was read as.
    pub fn read(event: &SequencedEvent) -> Result<Self, Error> {
        let Payload { book, number } = event.payload()?;
        Ok(Self { position: event.sequence_number().value(), id: event.id(), book, number })
    }
}

/// Makes the event of a book with this number.
pub fn event_of(book: Book, number: u32) -> Result<Event, Error> {
    Event::new(LENT, &Payload { book, number })
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {} of {} at {}", self.number, self.book, self.position)
    }
}

impl fmt::Display for Book {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b-{}-{}", self.writer, self.volume)
    }
}

impl From<Book> for String {
    fn from(book: Book) -> Self {
        book.to_string()
    }
}

impl TryFrom<String> for Book {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let parse = || {
            let (writer, volume) = text.strip_prefix("b-")?.split_once('-')?;
            Some(Self { writer: writer.parse().ok()?, volume: volume.parse().ok()? })
        };
        parse().ok_or("not a book of this program")
    }
}

/// A summary of a set of events. Sets that differ in an event, its position or its content have
/// different summaries, except for hash collisions.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Summary {
    pub events: u64,
    hashes: u64,
}

impl Summary {
    /// Returns the summary of a set of events.
    pub fn of<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        let mut summary = Self::default();
        entries.into_iter().for_each(|entry| summary += entry);
        summary
    }
}

impl AddAssign<&Entry> for Summary {
    fn add_assign(&mut self, entry: &Entry) {
        let mut hasher = DefaultHasher::new();
        entry.hash(&mut hasher);
        *self += Self { events: 1, hashes: hasher.finish() };
    }
}

impl AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.hashes = self.hashes.wrapping_add(other.hashes);
    }
}

impl Sub for Summary {
    type Output = Self;

    fn sub(self, part: Self) -> Self {
        let hashes = self.hashes.wrapping_sub(part.hashes);
        Self { events: self.events - part.events, hashes }
    }
}

/// The type of all events.
pub const LENT: &str = "BookCopyLentToReader";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_book_is_parsed_from_its_name() {
        let book = Book { writer: 3, volume: 17 };

        assert_eq!(Book::try_from(book.to_string()), Ok(book));
        assert!(Book::try_from("b-3".to_owned()).is_err());
    }

    #[test]
    fn a_summary_depends_on_each_part_of_an_event_but_not_on_the_order() {
        let book = Book { writer: 1, volume: 1 };
        let entry = Entry { position: 7, id: Uuid::from_u128(1), book, number: 2 };
        let other = Entry { position: 8, id: Uuid::from_u128(2), ..entry };
        let summary = Summary::of([&entry, &other]);

        assert_eq!(summary, Summary::of([&other, &entry]));
        assert_eq!(summary - Summary::of([&other]), Summary::of([&entry]));
        for different in [
            Entry { position: 9, ..entry },
            Entry { id: Uuid::from_u128(3), ..entry },
            Entry { book: Book { writer: 2, ..book }, ..entry },
            Entry { number: 3, ..entry },
        ] {
            assert_ne!(summary, Summary::of([&different, &other]), "{different}");
        }
    }
}

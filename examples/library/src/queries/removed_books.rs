use eddyline::{Error, Filter};

use crate::domain::{
    BookCopyAddedToCirculation, BookCopyRemovedFromCirculation, BookId, DomainEvent, OccurredAt,
};
use crate::queries::chronological_map::ChronologicalMap;
use crate::queries::{Projection, Query, SequencedDomainEvent};

/// A query for the removed copies, the oldest removal first. Copies that were added again are
/// excluded.
#[derive(Clone, Copy, Debug)]
pub struct RemovedBooks;

/// A removed copy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RemovedBook {
    /// The copy.
    pub book: BookId,
    /// The time of the last removal.
    pub removed_at: OccurredAt,
}

/// The projection of the removals that no later addition follows.
#[derive(Clone, Debug, Default)]
pub struct Removals {
    books: ChronologicalMap<BookId>,
}

impl Projection for Removals {
    fn apply(&mut self, sequenced: SequencedDomainEvent) {
        let position = sequenced.sequence_number;
        match sequenced.event {
            DomainEvent::BookCopyRemovedFromCirculation(removed) => {
                self.books.insert(removed.book, (), removed.occurred_at, position);
            }
            DomainEvent::BookCopyAddedToCirculation(added) => self.books.remove(&added.book),
            _ => {}
        }
    }
}

impl Query for RemovedBooks {
    const NAME: &'static str = "RemovedBooks";
    type Projection = Removals;
    type Answer = Vec<RemovedBook>;

    fn filter(&self) -> Result<Filter, Error> {
        Filter::types([
            BookCopyAddedToCirculation::EVENT_TYPE,
            BookCopyRemovedFromCirculation::EVENT_TYPE,
        ])
        .build()
    }

    fn answer(&self, projection: Removals) -> Vec<RemovedBook> {
        let books = projection.books.into_oldest_first().into_iter();
        books.map(|(book, entry)| RemovedBook { book, removed_at: entry.since }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{added, at, book, log, removed};
    use crate::queries::answer;

    fn entry(number: u32, removed_at: u32) -> RemovedBook {
        RemovedBook { book: book(number), removed_at: at(removed_at) }
    }

    #[test]
    fn answer_is_empty_if_no_copy_is_removed() {
        assert_eq!(answer(&RemovedBooks, []), []);
        assert_eq!(answer(&RemovedBooks, log([added(book(1), 1)])), []);
    }

    #[test]
    fn lists_the_oldest_removal_first() {
        let events = log([
            added(book(1), 1),
            added(book(2), 2),
            added(book(3), 3),
            added(book(4), 4),
            removed(book(3), 9),
            removed(book(2), 7),
            removed(book(1), 7),
        ]);

        assert_eq!(answer(&RemovedBooks, events), [entry(2, 7), entry(1, 7), entry(3, 9)]);
    }

    #[test]
    fn excludes_copies_that_were_added_again() {
        let events = log([
            added(book(1), 1),
            added(book(2), 2),
            removed(book(1), 3),
            removed(book(2), 4),
            added(book(1), 5),
        ]);

        assert_eq!(answer(&RemovedBooks, events), [entry(2, 4)]);
    }

    #[test]
    fn has_the_latest_time_of_a_copy_that_was_removed_again() {
        let events =
            log([added(book(1), 1), removed(book(1), 2), added(book(1), 3), removed(book(1), 4)]);

        assert_eq!(answer(&RemovedBooks, events), [entry(1, 4)]);
    }
}

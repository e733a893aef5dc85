use eddyline::{Error, Filter};

use crate::domain::{
    BookCopyAddedToCirculation, BookCopyRemovedFromCirculation, BookId, DomainEvent, OccurredAt,
};
use crate::queries::chronology::Chronology;
use crate::queries::{Projection, Query, Recorded};

/// Asks which copies were removed and not added again, the longest removed first.
#[derive(Clone, Copy, Debug)]
pub struct RemovedBooks;

/// Is a copy that was removed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RemovedBook {
    /// The copy.
    pub book: BookId,
    /// When, the last time if there were several.
    pub removed_at: OccurredAt,
}

/// Holds the removals that no addition followed.
#[derive(Clone, Debug, Default)]
pub struct Removals {
    books: Chronology<BookId>,
}

impl Projection for Removals {
    fn apply(&mut self, recorded: Recorded) {
        let at = recorded.sequence_number;
        match recorded.event {
            DomainEvent::BookCopyRemovedFromCirculation(removed) => {
                self.books.begin(removed.book, (), removed.occurred_at, at);
            }
            DomainEvent::BookCopyAddedToCirculation(added) => self.books.end(&added.book),
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
    fn answers_nothing_while_all_copies_are_in_circulation() {
        assert_eq!(answer(&RemovedBooks, []), []);
        assert_eq!(answer(&RemovedBooks, log([added(book(1), 1)])), []);
    }

    #[test]
    fn names_copies_the_longest_removed_first() {
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
    fn leaves_out_what_was_added_again() {
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
    fn dates_a_copy_that_was_removed_again_by_the_last_time() {
        let events =
            log([added(book(1), 1), removed(book(1), 2), added(book(1), 3), removed(book(1), 4)]);

        assert_eq!(answer(&RemovedBooks, events), [entry(1, 4)]);
    }
}

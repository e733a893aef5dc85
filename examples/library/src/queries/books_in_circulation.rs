use eddyline::{Error, Filter};

use crate::domain::{
    BookCopyAddedToCirculation, BookCopyLentToReader, BookCopyRemovedFromCirculation,
    BookCopyReturnedByReader, BookData, BookId, DomainEvent, OccurredAt,
};
use crate::queries::chronological_map::ChronologicalMap;
use crate::queries::{Projection, Query, SequencedDomainEvent};

/// A query for the copies in circulation, lent or not.
#[derive(Clone, Copy, Debug)]
pub struct BooksInCirculation;

/// The answer to [`BooksInCirculation`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Circulation {
    /// The copies, in the order of the times when they were added.
    pub books: Vec<BookInCirculation>,
    /// The number of copies.
    pub count: usize,
}

/// A copy in circulation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BookInCirculation {
    /// The copy.
    pub book: BookId,
    /// The book of which it is a copy.
    pub data: BookData,
    /// The time when it was last added.
    pub added_at: OccurredAt,
    /// Whether it is lent.
    pub is_currently_lent: bool,
}

/// The projection of the copies in circulation.
#[derive(Clone, Debug, Default)]
pub struct Copies {
    copies: ChronologicalMap<BookId, Copy>,
}

#[derive(Clone, Debug)]
struct Copy {
    data: BookData,
    is_lent: bool,
}

impl Copies {
    fn set_lent(&mut self, book: BookId, is_lent: bool) {
        if let Some(copy) = self.copies.get_mut(&book) {
            copy.is_lent = is_lent;
        }
    }
}

impl Projection for Copies {
    fn apply(&mut self, sequenced: SequencedDomainEvent) {
        let position = sequenced.sequence_number;
        match sequenced.event {
            DomainEvent::BookCopyAddedToCirculation(added) => {
                let copy = Copy { data: added.data, is_lent: false };
                self.copies.insert(added.book, copy, added.occurred_at, position);
            }
            DomainEvent::BookCopyRemovedFromCirculation(removed) => {
                self.copies.remove(&removed.book)
            }
            DomainEvent::BookCopyLentToReader(lent) => self.set_lent(lent.book, true),
            DomainEvent::BookCopyReturnedByReader(returned) => self.set_lent(returned.book, false),
            _ => {}
        }
    }
}

impl Query for BooksInCirculation {
    const NAME: &'static str = "BooksInCirculation";
    type Projection = Copies;
    type Answer = Circulation;

    fn filter(&self) -> Result<Filter, Error> {
        Filter::types([
            BookCopyAddedToCirculation::EVENT_TYPE,
            BookCopyRemovedFromCirculation::EVENT_TYPE,
            BookCopyLentToReader::EVENT_TYPE,
            BookCopyReturnedByReader::EVENT_TYPE,
        ])
        .build()
    }

    fn answer(&self, projection: Copies) -> Circulation {
        let copies = projection.copies.into_oldest_first().into_iter();
        let books: Vec<_> = copies
            .map(|(book, copy)| BookInCirculation {
                book,
                data: copy.value.data,
                added_at: copy.since,
                is_currently_lent: copy.value.is_lent,
            })
            .collect();
        Circulation { count: books.len(), books }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{added, at, book, data, lent, log, reader, removed, returned};
    use crate::queries::answer;

    fn in_circulation(number: u32, added_at: u32, is_currently_lent: bool) -> BookInCirculation {
        BookInCirculation {
            book: book(number),
            data: data(),
            added_at: at(added_at),
            is_currently_lent,
        }
    }

    fn assert_answers(events: impl IntoIterator<Item = DomainEvent>, books: &[BookInCirculation]) {
        let circulation = answer(&BooksInCirculation, log(events));

        assert_eq!(circulation.books, books);
        assert_eq!(circulation.count, books.len());
    }

    #[test]
    fn answer_for_an_empty_log_is_empty() {
        assert_answers([], &[]);
    }

    #[test]
    fn orders_copies_by_the_time_they_were_added() {
        let events = [added(book(1), 5), added(book(2), 3), added(book(3), 4)];

        assert_answers(
            events,
            &[
                in_circulation(2, 3, false),
                in_circulation(3, 4, false),
                in_circulation(1, 5, false),
            ],
        );
    }

    #[test]
    fn orders_copies_added_at_the_same_time_by_position() {
        let events = [added(book(3), 1), added(book(1), 1), added(book(2), 1)];

        assert_answers(
            events,
            &[
                in_circulation(3, 1, false),
                in_circulation(1, 1, false),
                in_circulation(2, 1, false),
            ],
        );
    }

    #[test]
    fn marks_lent_copies() {
        let events = [
            added(book(1), 1),
            added(book(2), 2),
            added(book(3), 3),
            lent(book(1), reader(1), 4),
            lent(book(2), reader(1), 5),
            returned(book(2), reader(1), 6),
        ];

        assert_answers(
            events,
            &[in_circulation(1, 1, true), in_circulation(2, 2, false), in_circulation(3, 3, false)],
        );
    }

    #[test]
    fn excludes_removed_copies() {
        assert_answers(
            [added(book(1), 1), added(book(2), 2), removed(book(1), 3)],
            &[in_circulation(2, 2, false)],
        );
        assert_answers([added(book(1), 1), removed(book(1), 2)], &[]);
    }

    #[test]
    fn has_the_latest_time_of_a_copy_that_was_added_again() {
        let events = [added(book(1), 1), added(book(2), 2), removed(book(1), 3), added(book(1), 4)];

        assert_answers(events, &[in_circulation(2, 2, false), in_circulation(1, 4, false)]);
    }
}

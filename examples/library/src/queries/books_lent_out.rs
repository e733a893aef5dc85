use eddyline::{Error, Filter};

use crate::domain::{BookCopyLentToReader, BookCopyReturnedByReader, BookId, OccurredAt, ReaderId};
use crate::queries::Query;
use crate::queries::open_loans::OpenLoans;

/// Asks which copies are lent, the longest lent first.
#[derive(Clone, Copy, Debug)]
pub struct BooksLentOut;

/// Is a copy that a reader has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BookLentOut {
    /// The copy.
    pub book: BookId,
    /// Who has it.
    pub reader: ReaderId,
    /// Since when.
    pub lent_at: OccurredAt,
}

impl Query for BooksLentOut {
    const NAME: &'static str = "BooksLentOut";
    type Projection = OpenLoans;
    type Answer = Vec<BookLentOut>;

    fn filter(&self) -> Result<Filter, Error> {
        Filter::types([BookCopyLentToReader::EVENT_TYPE, BookCopyReturnedByReader::EVENT_TYPE])
            .build()
    }

    fn answer(&self, projection: OpenLoans) -> Vec<BookLentOut> {
        let loans = projection.loans.into_oldest_first().into_iter();
        loans
            .map(|(book, loan)| BookLentOut { book, reader: loan.value, lent_at: loan.since })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{at, book, lent, log, reader, returned};
    use crate::queries::answer;

    fn loan(book_number: u32, reader_number: u32, lent_at: u32) -> BookLentOut {
        BookLentOut { book: book(book_number), reader: reader(reader_number), lent_at: at(lent_at) }
    }

    #[test]
    fn answers_nothing_about_an_empty_log() {
        assert_eq!(answer(&BooksLentOut, []), []);
    }

    #[test]
    fn says_who_has_which_copy_since_when_the_longest_lent_first() {
        let events = log([
            lent(book(1), reader(1), 5),
            lent(book(2), reader(2), 3),
            lent(book(3), reader(1), 4),
        ]);

        assert_eq!(answer(&BooksLentOut, events), [loan(2, 2, 3), loan(3, 1, 4), loan(1, 1, 5)]);
    }

    #[test]
    fn orders_loans_of_one_time_by_their_place_in_the_log() {
        let events = log([
            lent(book(2), reader(1), 1),
            lent(book(3), reader(2), 1),
            lent(book(1), reader(1), 1),
        ]);

        assert_eq!(answer(&BooksLentOut, events), [loan(2, 1, 1), loan(3, 2, 1), loan(1, 1, 1)]);
    }

    #[test]
    fn leaves_returned_copies_out() {
        let events = log([
            lent(book(1), reader(1), 1),
            lent(book(2), reader(1), 2),
            returned(book(1), reader(1), 3),
        ]);

        assert_eq!(answer(&BooksLentOut, events), [loan(2, 1, 2)]);
    }

    #[test]
    fn dates_a_copy_that_was_lent_once_more_by_the_last_time() {
        let events = log([
            lent(book(1), reader(1), 1),
            lent(book(2), reader(1), 2),
            returned(book(1), reader(1), 3),
            lent(book(1), reader(2), 4),
        ]);

        assert_eq!(answer(&BooksLentOut, events), [loan(2, 1, 2), loan(1, 2, 4)]);
    }
}

use eddyline::{Error, Filter};

use crate::domain::{BookCopyLentToReader, BookCopyReturnedByReader, BookId, OccurredAt, ReaderId};
use crate::queries::Query;
use crate::queries::open_loans::OpenLoans;

/// A query for all lent copies, the oldest loan first.
#[derive(Clone, Copy, Debug)]
pub struct BooksLentOut;

/// A lent copy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BookLentOut {
    /// The copy.
    pub book: BookId,
    /// The borrower.
    pub reader: ReaderId,
    /// The time of the loan.
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
    fn answer_for_an_empty_log_is_empty() {
        assert_eq!(answer(&BooksLentOut, []), []);
    }

    #[test]
    fn lists_book_reader_and_time_the_oldest_loan_first() {
        let events = log([
            lent(book(1), reader(1), 5),
            lent(book(2), reader(2), 3),
            lent(book(3), reader(1), 4),
        ]);

        assert_eq!(answer(&BooksLentOut, events), [loan(2, 2, 3), loan(3, 1, 4), loan(1, 1, 5)]);
    }

    #[test]
    fn orders_loans_of_the_same_time_by_position() {
        let events = log([
            lent(book(2), reader(1), 1),
            lent(book(3), reader(2), 1),
            lent(book(1), reader(1), 1),
        ]);

        assert_eq!(answer(&BooksLentOut, events), [loan(2, 1, 1), loan(3, 2, 1), loan(1, 1, 1)]);
    }

    #[test]
    fn excludes_returned_copies() {
        let events = log([
            lent(book(1), reader(1), 1),
            lent(book(2), reader(1), 2),
            returned(book(1), reader(1), 3),
        ]);

        assert_eq!(answer(&BooksLentOut, events), [loan(2, 1, 2)]);
    }

    #[test]
    fn has_the_latest_time_of_a_copy_that_was_lent_again() {
        let events = log([
            lent(book(1), reader(1), 1),
            lent(book(2), reader(1), 2),
            returned(book(1), reader(1), 3),
            lent(book(1), reader(2), 4),
        ]);

        assert_eq!(answer(&BooksLentOut, events), [loan(2, 1, 2), loan(1, 2, 4)]);
    }
}

use eddyline::{Error, Filter};

use crate::domain::{BookCopyLentToReader, BookCopyReturnedByReader, BookId, OccurredAt, ReaderId};
use crate::queries::Query;
use crate::queries::open_loans::OpenLoans;

/// A query for the copies that are lent to a reader, the oldest loan first.
#[derive(Clone, Copy, Debug)]
pub struct BooksLentByReader {
    /// The reader.
    pub reader: ReaderId,
}

/// A copy that is lent to the reader.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BookLentByReader {
    /// The copy.
    pub book: BookId,
    /// The time of the loan.
    pub lent_at: OccurredAt,
}

impl Query for BooksLentByReader {
    const NAME: &'static str = "BooksLentByReader";
    type Projection = OpenLoans;
    type Answer = Vec<BookLentByReader>;

    fn filter(&self) -> Result<Filter, Error> {
        Filter::types([BookCopyLentToReader::EVENT_TYPE, BookCopyReturnedByReader::EVENT_TYPE])
            .any_of([("ReaderID", self.reader)])
            .build()
    }

    fn answer(&self, projection: OpenLoans) -> Vec<BookLentByReader> {
        let loans = projection.loans.into_oldest_first().into_iter();
        loans.map(|(book, loan)| BookLentByReader { book, lent_at: loan.since }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{at, book, lent, log, reader, returned};
    use crate::queries::answer;

    fn query() -> BooksLentByReader {
        BooksLentByReader { reader: reader(1) }
    }

    fn loan(number: u32, lent_at: u32) -> BookLentByReader {
        BookLentByReader { book: book(number), lent_at: at(lent_at) }
    }

    #[test]
    fn answer_for_a_reader_without_loans_is_empty() {
        assert_eq!(answer(&query(), []), []);
    }

    #[test]
    fn lists_the_oldest_loan_first() {
        let events = log([
            lent(book(1), reader(1), 5),
            lent(book(2), reader(1), 3),
            lent(book(3), reader(1), 3),
        ]);

        assert_eq!(answer(&query(), events), [loan(2, 3), loan(3, 3), loan(1, 5)]);
    }

    #[test]
    fn excludes_returned_copies() {
        let events = log([
            lent(book(1), reader(1), 1),
            lent(book(2), reader(1), 2),
            returned(book(1), reader(1), 3),
        ]);

        assert_eq!(answer(&query(), events), [loan(2, 2)]);
    }

    #[test]
    fn has_the_latest_time_of_a_copy_that_was_borrowed_again() {
        let events = log([
            lent(book(1), reader(1), 1),
            returned(book(1), reader(1), 2),
            lent(book(1), reader(1), 3),
        ]);

        assert_eq!(answer(&query(), events), [loan(1, 3)]);
    }
}

//! The seven queries that only read.

mod books_in_circulation;
mod books_lent_by_reader;
mod books_lent_out;
mod canceled_readers;
mod chronology;
mod finished_lendings;
mod handler;
mod open_loans;
mod projection;
mod registered_readers;
mod removed_books;

pub use self::books_in_circulation::{BookInCirculation, BooksInCirculation, Circulation};
pub use self::books_lent_by_reader::{BookLentByReader, BooksLentByReader};
pub use self::books_lent_out::{BookLentOut, BooksLentOut};
pub use self::canceled_readers::{CanceledReader, CanceledReaders};
pub use self::finished_lendings::{FinishedLending, FinishedLendings, Lendings, Order};
pub use self::handler::{Answer, QueryError, QueryHandler};
pub use self::projection::{Projection, Query, Recorded, answer};
pub use self::registered_readers::{RegisteredReader, RegisteredReaders};
pub use self::removed_books::{RemovedBook, RemovedBooks};

#[cfg(test)]
mod tests {
    use eddyline::Filter;

    use super::*;
    use crate::fixtures::reader;

    fn assert_is_made_of(query: &impl Query, event_types: &[&str]) {
        let expected = Filter::types(event_types.iter().copied()).build();

        assert_eq!(query.filter().unwrap(), expected.unwrap());
    }

    #[test]
    fn are_made_of_the_events_that_their_rules_mention() {
        const ADDED: &str = "BookCopyAddedToCirculation";
        const REMOVED: &str = "BookCopyRemovedFromCirculation";
        const LENT: &str = "BookCopyLentToReader";
        const RETURNED: &str = "BookCopyReturnedByReader";
        const REGISTERED: &str = "ReaderRegistered";
        const CANCELED: &str = "ReaderContractCanceled";
        let finished = FinishedLendings { max: 1, order: Order::OldestFirst };

        assert_is_made_of(&BooksInCirculation, &[ADDED, REMOVED, LENT, RETURNED]);
        assert_is_made_of(&BooksLentOut, &[LENT, RETURNED]);
        assert_is_made_of(&RegisteredReaders, &[REGISTERED, CANCELED]);
        assert_is_made_of(&CanceledReaders, &[REGISTERED, CANCELED]);
        assert_is_made_of(&RemovedBooks, &[ADDED, REMOVED]);
        assert_is_made_of(&finished, &[RETURNED]);
    }

    #[test]
    fn about_a_reader_are_made_of_that_readers_loans() {
        let query = BooksLentByReader { reader: reader(2) };
        let expected = Filter::types(["BookCopyLentToReader", "BookCopyReturnedByReader"])
            .any_of([("ReaderID", "00000000-0000-0000-0000-000000000002")])
            .build();

        assert_eq!(query.filter().unwrap(), expected.unwrap());
    }
}

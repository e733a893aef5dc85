//! The seven queries, which only read.

mod books_in_circulation;
mod books_lent_by_reader;
mod books_lent_out;
mod canceled_readers;
mod chronological_map;
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
pub use self::projection::{Projection, Query, SequencedDomainEvent, answer};
pub use self::registered_readers::{RegisteredReader, RegisteredReaders};
pub use self::removed_books::{RemovedBook, RemovedBooks};

#[cfg(test)]
mod tests {
    use eddyline::Filter;

    use super::*;
    use crate::fixtures::reader;

    fn assert_filter(query: &impl Query, event_types: &[&str]) {
        let expected = Filter::types(event_types.iter().copied()).build();

        assert_eq!(query.filter().unwrap(), expected.unwrap());
    }

    #[test]
    fn filters_select_the_documented_events() {
        const ADDED: &str = "BookCopyAddedToCirculation";
        const REMOVED: &str = "BookCopyRemovedFromCirculation";
        const LENT: &str = "BookCopyLentToReader";
        const RETURNED: &str = "BookCopyReturnedByReader";
        const REGISTERED: &str = "ReaderRegistered";
        const CANCELED: &str = "ReaderContractCanceled";
        let finished = FinishedLendings { max: 1, order: Order::OldestFirst };

        assert_filter(&BooksInCirculation, &[ADDED, REMOVED, LENT, RETURNED]);
        assert_filter(&BooksLentOut, &[LENT, RETURNED]);
        assert_filter(&RegisteredReaders, &[REGISTERED, CANCELED]);
        assert_filter(&CanceledReaders, &[REGISTERED, CANCELED]);
        assert_filter(&RemovedBooks, &[ADDED, REMOVED]);
        assert_filter(&finished, &[RETURNED]);
    }

    #[test]
    fn filter_for_a_reader_selects_only_the_loans_of_that_reader() {
        let query = BooksLentByReader { reader: reader(2) };
        let expected = Filter::types(["BookCopyLentToReader", "BookCopyReturnedByReader"])
            .any_of([("ReaderID", "00000000-0000-0000-0000-000000000002")])
            .build();

        assert_eq!(query.filter().unwrap(), expected.unwrap());
    }
}

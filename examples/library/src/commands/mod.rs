//! The six commands, which append to the log.

mod add_book_copy;
mod cancel_reader_contract;
mod decision;
mod handler;
mod lend_book_copy_to_reader;
mod register_reader;
mod remove_book_copy;
mod return_book_copy_from_reader;

pub use self::add_book_copy::AddBookCopy;
pub use self::cancel_reader_contract::CancelReaderContract;
pub use self::decision::{Command, Decision, Reason, decide};
pub use self::handler::{CommandError, CommandHandler, Effort, Outcome, Receipt};
pub use self::lend_book_copy_to_reader::{LendBookCopyToReader, MAX_LOANS};
pub use self::register_reader::RegisterReader;
pub use self::remove_book_copy::RemoveBookCopy;
pub use self::return_book_copy_from_reader::ReturnBookCopyFromReader;

#[cfg(test)]
mod tests {
    use eddyline::{Filter, Predicate};

    use super::*;
    use crate::fixtures::{at, book, data, reader};

    const BOOK_ID: (&str, &str) = ("BookID", "00000000-0000-0000-0000-000000000001");
    const READER_ID: (&str, &str) = ("ReaderID", "00000000-0000-0000-0000-000000000002");

    fn assert_filter(command: &impl Command, event_types: &[&str], ids: &[(&str, &str)]) {
        let ids = ids.iter().map(|(key, id)| Predicate::new(*key, id));
        let expected = Filter::types(event_types.iter().copied()).any_of(ids).build();

        assert_eq!(command.filter().unwrap(), expected.unwrap());
    }

    #[test]
    fn filters_select_the_documented_events() {
        let (book, reader, occurred_at) = (book(1), reader(2), at(1));
        let name = "Ada Lovelace".to_owned();
        const ADDED: &str = "BookCopyAddedToCirculation";
        const REMOVED: &str = "BookCopyRemovedFromCirculation";
        const LENT: &str = "BookCopyLentToReader";
        const RETURNED: &str = "BookCopyReturnedByReader";
        const REGISTERED: &str = "ReaderRegistered";
        const CANCELED: &str = "ReaderContractCanceled";

        assert_filter(
            &AddBookCopy { book, data: data(), occurred_at },
            &[ADDED, REMOVED],
            &[BOOK_ID],
        );
        assert_filter(
            &RemoveBookCopy { book, occurred_at },
            &[ADDED, REMOVED, LENT, RETURNED],
            &[BOOK_ID],
        );
        assert_filter(
            &RegisterReader { reader, name, occurred_at },
            &[REGISTERED, CANCELED],
            &[READER_ID],
        );
        assert_filter(
            &CancelReaderContract { reader, occurred_at },
            &[REGISTERED, CANCELED, LENT, RETURNED],
            &[READER_ID],
        );
        assert_filter(
            &LendBookCopyToReader { book, reader, occurred_at },
            &[ADDED, REMOVED, LENT, RETURNED, REGISTERED, CANCELED],
            &[BOOK_ID, READER_ID],
        );
        assert_filter(
            &ReturnBookCopyFromReader { book, reader, occurred_at },
            &[ADDED, LENT, RETURNED, REGISTERED],
            &[BOOK_ID, READER_ID],
        );
    }
}

use eddyline::{Error, Filter, Predicate};

use crate::commands::{Command, Decision, Reason};
use crate::domain::{
    BookCopyAddedToCirculation, BookCopyLentToReader, BookCopyReturnedByReader, BookId,
    DomainEvent, OccurredAt, ReaderId, ReaderRegistered, ReturningBookFromReaderFailed,
};

/// A command to take a copy back from a reader.
#[derive(Clone, Debug)]
pub struct ReturnBookCopyFromReader {
    /// The copy.
    pub book: BookId,
    /// The reader.
    pub reader: ReaderId,
    /// The time of the event.
    pub occurred_at: OccurredAt,
}

/// The decision model for a return.
#[derive(Debug, Default)]
pub struct Model {
    reader_ever_registered: bool,
    book_ever_added: bool,
    loan: Loan,
}

/// The state of the loan of this copy to this reader.
#[derive(Debug, Default)]
enum Loan {
    #[default]
    Never,
    Open,
    Returned,
}

impl ReturnBookCopyFromReader {
    fn rejected(&self, reason: Reason) -> Decision {
        let failure = ReturningBookFromReaderFailed {
            book: self.book,
            reader: self.reader,
            failure_info: reason.to_string(),
            occurred_at: self.occurred_at,
        };
        Decision::rejected(failure, reason)
    }

    fn is_about(&self, book: BookId, reader: ReaderId) -> bool {
        book == self.book && reader == self.reader
    }
}

impl Command for ReturnBookCopyFromReader {
    const NAME: &'static str = "ReturnBookCopyFromReader";
    type Model = Model;

    fn filter(&self) -> Result<Filter, Error> {
        Filter::types([
            BookCopyAddedToCirculation::EVENT_TYPE,
            BookCopyLentToReader::EVENT_TYPE,
            BookCopyReturnedByReader::EVENT_TYPE,
            ReaderRegistered::EVENT_TYPE,
        ])
        .any_of([Predicate::new("BookID", self.book), Predicate::new("ReaderID", self.reader)])
        .build()
    }

    fn apply(&self, model: &mut Model, event: DomainEvent) {
        match event {
            DomainEvent::BookCopyAddedToCirculation(added) if added.book == self.book => {
                model.book_ever_added = true;
            }
            DomainEvent::BookCopyLentToReader(lent) if self.is_about(lent.book, lent.reader) => {
                model.loan = Loan::Open;
            }
            DomainEvent::BookCopyReturnedByReader(returned)
                if self.is_about(returned.book, returned.reader) =>
            {
                model.loan = Loan::Returned;
            }
            DomainEvent::ReaderRegistered(registered) if registered.reader == self.reader => {
                model.reader_ever_registered = true;
            }
            _ => {}
        }
    }

    fn decide(&self, model: &Model) -> Decision {
        if !model.reader_ever_registered {
            return self.rejected(Reason::ReaderNeverRegistered);
        }
        if !model.book_ever_added {
            return self.rejected(Reason::BookNeverAdded);
        }
        match model.loan {
            Loan::Never => self.rejected(Reason::BookNotLentToReader),
            Loan::Returned => Decision::Idempotent,
            Loan::Open => Decision::success(BookCopyReturnedByReader {
                book: self.book,
                reader: self.reader,
                occurred_at: self.occurred_at,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::decide;
    use crate::fixtures::{added, at, book, canceled, lent, reader, registered, removed, returned};

    fn command() -> ReturnBookCopyFromReader {
        ReturnBookCopyFromReader { book: book(1), reader: reader(1), occurred_at: at(9) }
    }

    fn success() -> Decision {
        Decision::Success(returned(book(1), reader(1), 9))
    }

    fn rejected(reason: Reason, failure_info: &str) -> Decision {
        let failure = ReturningBookFromReaderFailed {
            book: book(1),
            reader: reader(1),
            failure_info: failure_info.to_owned(),
            occurred_at: at(9),
        };
        Decision::rejected(failure, reason)
    }

    fn reader_never_registered() -> Decision {
        rejected(Reason::ReaderNeverRegistered, "reader was never registered")
    }

    fn book_never_added() -> Decision {
        rejected(Reason::BookNeverAdded, "book was never added to circulation")
    }

    fn book_not_lent_to_reader() -> Decision {
        rejected(Reason::BookNotLentToReader, "book is not lent to this reader")
    }

    /// Returns a history in which the copy is in circulation and the reader is registered, followed
    /// by these events.
    fn with(events: impl IntoIterator<Item = DomainEvent>) -> Vec<DomainEvent> {
        let start = [added(book(1), 1), registered(reader(1), 2)];
        start.into_iter().chain(events).collect()
    }

    #[test]
    fn takes_back_a_copy_that_the_reader_has() {
        let history = with([lent(book(1), reader(1), 3)]);

        assert_eq!(decide(&command(), history), success());
    }

    #[test]
    fn takes_back_a_copy_that_was_lent_again() {
        let history = with([
            lent(book(1), reader(1), 3),
            returned(book(1), reader(1), 4),
            lent(book(1), reader(1), 5),
        ]);

        assert_eq!(decide(&command(), history), success());
    }

    #[test]
    fn takes_back_one_of_several_copies() {
        let history = with([
            lent(book(1), reader(1), 3),
            lent(book(2), reader(1), 4),
            returned(book(2), reader(1), 5),
        ]);

        assert_eq!(decide(&command(), history), success());
    }

    #[test]
    fn takes_back_from_a_reader_whose_contract_is_canceled() {
        let history = with([lent(book(1), reader(1), 3), canceled(reader(1), 4)]);

        assert_eq!(decide(&command(), history), success());
    }

    #[test]
    fn takes_back_a_copy_that_was_removed() {
        let history = with([lent(book(1), reader(1), 3), removed(book(1), 4)]);

        assert_eq!(decide(&command(), history), success());
    }

    #[test]
    fn rejects_a_reader_who_never_registered() {
        let history = [added(book(1), 1), registered(reader(2), 2)];

        assert_eq!(decide(&command(), history), reader_never_registered());
    }

    #[test]
    fn checks_the_reader_before_the_book() {
        assert_eq!(decide(&command(), []), reader_never_registered());
    }

    #[test]
    fn checks_the_reader_before_the_loan() {
        let history = [added(book(1), 1), lent(book(1), reader(1), 2)];

        assert_eq!(decide(&command(), history), reader_never_registered());
    }

    #[test]
    fn rejects_a_copy_that_was_never_added() {
        let history = [registered(reader(1), 1), added(book(2), 2)];

        assert_eq!(decide(&command(), history), book_never_added());
    }

    #[test]
    fn checks_the_book_before_the_loan() {
        let history = [
            registered(reader(1), 1),
            lent(book(1), reader(1), 2),
            returned(book(1), reader(1), 3),
        ];

        assert_eq!(decide(&command(), history), book_never_added());
    }

    #[test]
    fn rejects_a_copy_that_was_never_lent() {
        assert_eq!(decide(&command(), with([])), book_not_lent_to_reader());
    }

    #[test]
    fn rejects_a_copy_that_only_other_readers_borrowed() {
        let history = with([
            lent(book(1), reader(2), 3),
            lent(book(2), reader(1), 4),
            returned(book(2), reader(1), 5),
        ]);

        assert_eq!(decide(&command(), history), book_not_lent_to_reader());
    }

    #[test]
    fn is_idempotent_if_the_copy_is_returned() {
        let history = with([lent(book(1), reader(1), 3), returned(book(1), reader(1), 4)]);

        assert_eq!(decide(&command(), history), Decision::Idempotent);
    }

    #[test]
    fn is_idempotent_while_another_reader_has_the_copy() {
        let history = with([
            lent(book(1), reader(1), 3),
            returned(book(1), reader(1), 4),
            lent(book(1), reader(2), 5),
        ]);

        assert_eq!(decide(&command(), history), Decision::Idempotent);
    }
}

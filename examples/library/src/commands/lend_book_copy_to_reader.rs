use std::collections::HashSet;

use eddyline::{Error, Filter, Predicate};

use crate::commands::{Command, Decision, Reason};
use crate::domain::{
    BookCopyAddedToCirculation, BookCopyLentToReader, BookCopyRemovedFromCirculation,
    BookCopyReturnedByReader, BookId, DomainEvent, LendingBookToReaderFailed, OccurredAt,
    ReaderContractCanceled, ReaderId, ReaderRegistered,
};

/// The maximum number of copies that a reader may have at a time.
pub const MAX_LOANS: usize = 10;

/// A command to lend a copy to a reader.
#[derive(Clone, Debug)]
pub struct LendBookCopyToReader {
    /// The copy.
    pub book: BookId,
    /// The reader.
    pub reader: ReaderId,
    /// The time of the event.
    pub occurred_at: OccurredAt,
}

/// The decision model for a loan.
#[derive(Debug, Default)]
pub struct Model {
    reader_registered: bool,
    book_in_circulation: bool,
    book_lent_to: Option<ReaderId>,
    reader_loans: HashSet<BookId>,
}

impl LendBookCopyToReader {
    fn rejected(&self, reason: Reason) -> Decision {
        let failure = LendingBookToReaderFailed {
            book: self.book,
            reader: self.reader,
            failure_info: reason.to_string(),
            occurred_at: self.occurred_at,
        };
        Decision::rejected(failure, reason)
    }

    fn apply_loan(&self, model: &mut Model, lent: &BookCopyLentToReader) {
        if lent.book == self.book {
            model.book_lent_to = Some(lent.reader);
        }
        if lent.reader == self.reader {
            model.reader_loans.insert(lent.book);
        }
    }

    fn apply_return(&self, model: &mut Model, returned: &BookCopyReturnedByReader) {
        if returned.book == self.book {
            model.book_lent_to = None;
        }
        if returned.reader == self.reader {
            model.reader_loans.remove(&returned.book);
        }
    }
}

impl Command for LendBookCopyToReader {
    const NAME: &'static str = "LendBookCopyToReader";
    type Model = Model;

    fn filter(&self) -> Result<Filter, Error> {
        Filter::types([
            BookCopyAddedToCirculation::EVENT_TYPE,
            BookCopyRemovedFromCirculation::EVENT_TYPE,
            BookCopyLentToReader::EVENT_TYPE,
            BookCopyReturnedByReader::EVENT_TYPE,
            ReaderRegistered::EVENT_TYPE,
            ReaderContractCanceled::EVENT_TYPE,
        ])
        .any_of([Predicate::new("BookID", self.book), Predicate::new("ReaderID", self.reader)])
        .build()
    }

    fn apply(&self, model: &mut Model, event: DomainEvent) {
        match event {
            DomainEvent::BookCopyAddedToCirculation(added) if added.book == self.book => {
                model.book_in_circulation = true;
            }
            DomainEvent::BookCopyRemovedFromCirculation(removed) if removed.book == self.book => {
                model.book_in_circulation = false;
            }
            DomainEvent::BookCopyLentToReader(lent) => self.apply_loan(model, &lent),
            DomainEvent::BookCopyReturnedByReader(returned) => self.apply_return(model, &returned),
            DomainEvent::ReaderRegistered(registered) if registered.reader == self.reader => {
                model.reader_registered = true;
            }
            DomainEvent::ReaderContractCanceled(canceled) if canceled.reader == self.reader => {
                model.reader_registered = false;
            }
            _ => {}
        }
    }

    fn decide(&self, model: &Model) -> Decision {
        if !model.reader_registered {
            return self.rejected(Reason::ReaderNotRegistered);
        }
        if !model.book_in_circulation {
            return self.rejected(Reason::BookNotInCirculation);
        }
        match model.book_lent_to {
            Some(reader) if reader == self.reader => return Decision::Idempotent,
            Some(_) => return self.rejected(Reason::BookAlreadyLent),
            None => {}
        }
        if model.reader_loans.len() >= MAX_LOANS {
            return self.rejected(Reason::TooManyBooks);
        }
        Decision::success(BookCopyLentToReader {
            book: self.book,
            reader: self.reader,
            occurred_at: self.occurred_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::decide;
    use crate::fixtures::{added, at, book, canceled, lent, reader, registered, removed, returned};

    fn command() -> LendBookCopyToReader {
        LendBookCopyToReader { book: book(1), reader: reader(1), occurred_at: at(90) }
    }

    fn success() -> Decision {
        Decision::Success(lent(book(1), reader(1), 90))
    }

    fn rejected(reason: Reason, failure_info: &str) -> Decision {
        let failure = LendingBookToReaderFailed {
            book: book(1),
            reader: reader(1),
            failure_info: failure_info.to_owned(),
            occurred_at: at(90),
        };
        Decision::rejected(failure, reason)
    }

    fn reader_not_registered() -> Decision {
        rejected(Reason::ReaderNotRegistered, "reader is not currently registered")
    }

    fn book_not_in_circulation() -> Decision {
        rejected(Reason::BookNotInCirculation, "book is not in circulation")
    }

    fn book_already_lent() -> Decision {
        rejected(Reason::BookAlreadyLent, "book is already lent")
    }

    fn too_many_books() -> Decision {
        rejected(Reason::TooManyBooks, "reader has too many books")
    }

    /// Returns a history in which the copy is in circulation and the reader is registered.
    fn ready() -> Vec<DomainEvent> {
        vec![added(book(1), 1), registered(reader(1), 2)]
    }

    /// Returns the history of [`ready`], followed by these events.
    fn with(events: impl IntoIterator<Item = DomainEvent>) -> Vec<DomainEvent> {
        ready().into_iter().chain(events).collect()
    }

    /// Returns loans of other copies to the reader.
    fn loans(count: u32) -> impl Iterator<Item = DomainEvent> {
        (0..count).map(|n| lent(book(100 + n), reader(1), 3 + n))
    }

    #[test]
    fn lends_a_copy_in_circulation_to_a_registered_reader() {
        assert_eq!(decide(&command(), ready()), success());
    }

    #[test]
    fn lends_a_copy_that_another_reader_returned() {
        let history = with([lent(book(1), reader(2), 3), returned(book(1), reader(2), 4)]);

        assert_eq!(decide(&command(), history), success());
    }

    #[test]
    fn lends_a_copy_to_the_same_reader_again() {
        let history = with([lent(book(1), reader(1), 3), returned(book(1), reader(1), 4)]);

        assert_eq!(decide(&command(), history), success());
    }

    #[test]
    fn lends_a_copy_that_was_removed_and_added_again() {
        let history = with([removed(book(1), 3), added(book(1), 4)]);

        assert_eq!(decide(&command(), history), success());
    }

    #[test]
    fn lends_to_a_reader_who_registered_again() {
        let history = with([canceled(reader(1), 3), registered(reader(1), 4)]);

        assert_eq!(decide(&command(), history), success());
    }

    #[test]
    fn lends_the_tenth_book_but_not_the_eleventh() {
        assert_eq!(decide(&command(), with(loans(9))), success());
        assert_eq!(decide(&command(), with(loans(10))), too_many_books());
    }

    #[test]
    fn counts_only_open_loans() {
        let returns = [
            returned(book(100), reader(1), 50),
            lent(book(100), reader(1), 51),
            returned(book(100), reader(1), 52),
        ];

        assert_eq!(decide(&command(), with(loans(10).chain(returns))), success());
    }

    #[test]
    fn ignores_the_loans_of_other_readers() {
        let history = with((0..10).map(|n| lent(book(100 + n), reader(2), 3)));

        assert_eq!(decide(&command(), history), success());
    }

    #[test]
    fn rejects_a_reader_who_never_registered() {
        assert_eq!(
            decide(&command(), [added(book(1), 1), registered(reader(2), 2)]),
            reader_not_registered()
        );
    }

    #[test]
    fn rejects_a_reader_whose_contract_is_canceled() {
        let history = with([canceled(reader(1), 3)]);

        assert_eq!(decide(&command(), history), reader_not_registered());
    }

    #[test]
    fn checks_the_reader_before_the_book() {
        assert_eq!(decide(&command(), []), reader_not_registered());
    }

    #[test]
    fn checks_the_reader_before_an_existing_loan() {
        let history = with([lent(book(1), reader(1), 3), canceled(reader(1), 4)]);

        assert_eq!(decide(&command(), history), reader_not_registered());
    }

    #[test]
    fn rejects_a_copy_that_was_never_added() {
        let history = [registered(reader(1), 1), added(book(2), 2)];

        assert_eq!(decide(&command(), history), book_not_in_circulation());
    }

    #[test]
    fn rejects_a_copy_that_was_removed() {
        let history = with([removed(book(1), 3)]);

        assert_eq!(decide(&command(), history), book_not_in_circulation());
    }

    #[test]
    fn checks_circulation_before_loans() {
        for borrower in [reader(1), reader(2)] {
            let history = with([lent(book(1), borrower, 3), removed(book(1), 4)]);

            assert_eq!(decide(&command(), history), book_not_in_circulation());
        }
    }

    #[test]
    fn is_idempotent_while_the_reader_has_the_copy() {
        let history = with([lent(book(1), reader(1), 3)]);

        assert_eq!(decide(&command(), history), Decision::Idempotent);
    }

    #[test]
    fn is_idempotent_even_if_the_reader_has_too_many_books() {
        let history = with([lent(book(1), reader(1), 3)].into_iter().chain(loans(9)));

        assert_eq!(decide(&command(), history), Decision::Idempotent);
    }

    #[test]
    fn rejects_a_copy_that_another_reader_has() {
        let history = with([lent(book(1), reader(2), 3)]);

        assert_eq!(decide(&command(), history), book_already_lent());
    }

    #[test]
    fn checks_for_another_borrower_before_counting_books() {
        let history = with(loans(10).chain([lent(book(1), reader(2), 50)]));

        assert_eq!(decide(&command(), history), book_already_lent());
    }
}

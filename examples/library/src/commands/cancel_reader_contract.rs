use std::collections::HashSet;

use eddyline::{Error, Filter};

use crate::commands::{Command, Decision, Reason};
use crate::domain::{
    BookCopyLentToReader, BookCopyReturnedByReader, BookId, CancelingReaderContractFailed,
    DomainEvent, OccurredAt, ReaderContractCanceled, ReaderId, ReaderRegistered,
};

/// A command to cancel a reader's contract.
#[derive(Clone, Debug)]
pub struct CancelReaderContract {
    /// The reader.
    pub reader: ReaderId,
    /// The time of the event.
    pub occurred_at: OccurredAt,
}

/// The decision model for the cancellation of a contract.
#[derive(Debug, Default)]
pub struct Model {
    ever_registered: bool,
    registered: bool,
    loans: HashSet<BookId>,
}

impl CancelReaderContract {
    fn rejected(&self, reason: Reason) -> Decision {
        let failure = CancelingReaderContractFailed {
            reader: self.reader,
            failure_info: reason.to_string(),
            occurred_at: self.occurred_at,
        };
        Decision::rejected(failure, reason)
    }
}

impl Command for CancelReaderContract {
    const NAME: &'static str = "CancelReaderContract";
    type Model = Model;

    fn filter(&self) -> Result<Filter, Error> {
        Filter::types([
            ReaderRegistered::EVENT_TYPE,
            ReaderContractCanceled::EVENT_TYPE,
            BookCopyLentToReader::EVENT_TYPE,
            BookCopyReturnedByReader::EVENT_TYPE,
        ])
        .any_of([("ReaderID", self.reader)])
        .build()
    }

    fn apply(&self, model: &mut Model, event: DomainEvent) {
        match event {
            DomainEvent::ReaderRegistered(registered) if registered.reader == self.reader => {
                model.ever_registered = true;
                model.registered = true;
            }
            DomainEvent::ReaderContractCanceled(canceled) if canceled.reader == self.reader => {
                model.registered = false;
            }
            DomainEvent::BookCopyLentToReader(lent) if lent.reader == self.reader => {
                model.loans.insert(lent.book);
            }
            DomainEvent::BookCopyReturnedByReader(returned) if returned.reader == self.reader => {
                model.loans.remove(&returned.book);
            }
            _ => {}
        }
    }

    fn decide(&self, model: &Model) -> Decision {
        if !model.ever_registered {
            return self.rejected(Reason::ReaderNeverRegistered);
        }
        if !model.registered {
            return Decision::Idempotent;
        }
        if !model.loans.is_empty() {
            return self.rejected(Reason::LoansOutstanding);
        }
        Decision::success(ReaderContractCanceled {
            reader: self.reader,
            occurred_at: self.occurred_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::decide;
    use crate::fixtures::{at, book, canceled, lent, reader, registered, returned};

    fn command() -> CancelReaderContract {
        CancelReaderContract { reader: reader(1), occurred_at: at(9) }
    }

    fn success() -> Decision {
        Decision::Success(canceled(reader(1), 9))
    }

    fn rejected(reason: Reason, failure_info: &str) -> Decision {
        let failure = CancelingReaderContractFailed {
            reader: reader(1),
            failure_info: failure_info.to_owned(),
            occurred_at: at(9),
        };
        Decision::rejected(failure, reason)
    }

    fn never_registered() -> Decision {
        rejected(Reason::ReaderNeverRegistered, "reader was never registered")
    }

    fn loans_outstanding() -> Decision {
        rejected(Reason::LoansOutstanding, "reader has outstanding book loans")
    }

    #[test]
    fn cancels_the_contract_of_a_reader_who_never_borrowed() {
        assert_eq!(decide(&command(), [registered(reader(1), 1)]), success());
    }

    #[test]
    fn cancels_after_all_copies_were_returned() {
        let history = [
            registered(reader(1), 1),
            lent(book(1), reader(1), 2),
            lent(book(2), reader(1), 3),
            returned(book(2), reader(1), 4),
            returned(book(1), reader(1), 5),
        ];

        assert_eq!(decide(&command(), history), success());
    }

    #[test]
    fn cancels_the_contract_of_a_reader_who_registered_again() {
        let history = [registered(reader(1), 1), canceled(reader(1), 2), registered(reader(1), 3)];

        assert_eq!(decide(&command(), history), success());
    }

    #[test]
    fn rejects_a_reader_who_never_registered() {
        assert_eq!(decide(&command(), []), never_registered());
        assert_eq!(decide(&command(), [registered(reader(2), 1)]), never_registered());
    }

    #[test]
    fn checks_registration_before_loans() {
        let history = [lent(book(1), reader(1), 1)];

        assert_eq!(decide(&command(), history), never_registered());
    }

    #[test]
    fn is_idempotent_if_the_contract_is_canceled() {
        let history = [registered(reader(1), 1), canceled(reader(1), 2)];

        assert_eq!(decide(&command(), history), Decision::Idempotent);
    }

    #[test]
    fn is_idempotent_for_a_canceled_contract_even_with_loans() {
        let history =
            [registered(reader(1), 1), lent(book(1), reader(1), 2), canceled(reader(1), 3)];

        assert_eq!(decide(&command(), history), Decision::Idempotent);
    }

    #[test]
    fn rejects_while_one_of_several_loans_is_open() {
        let history = [
            registered(reader(1), 1),
            lent(book(1), reader(1), 2),
            lent(book(2), reader(1), 3),
            returned(book(1), reader(1), 4),
        ];

        assert_eq!(decide(&command(), history), loans_outstanding());
    }

    #[test]
    fn rejects_while_a_copy_is_lent_again() {
        let history = [
            registered(reader(1), 1),
            lent(book(1), reader(1), 2),
            returned(book(1), reader(1), 3),
            lent(book(1), reader(1), 4),
        ];

        assert_eq!(decide(&command(), history), loans_outstanding());
    }

    #[test]
    fn ignores_the_loans_of_other_readers() {
        let history = [
            registered(reader(1), 1),
            registered(reader(2), 2),
            lent(book(1), reader(2), 3),
            canceled(reader(2), 4),
        ];

        assert_eq!(decide(&command(), history), success());
    }
}

use eddyline::{Error, Filter};

use crate::commands::{Command, Decision, Reason};
use crate::domain::{
    BookCopyAddedToCirculation, BookCopyLentToReader, BookCopyRemovedFromCirculation,
    BookCopyReturnedByReader, BookId, DomainEvent, OccurredAt, RemovingBookFromCirculationFailed,
};

/// A command to remove a copy from circulation.
#[derive(Clone, Debug)]
pub struct RemoveBookCopy {
    /// The copy.
    pub book: BookId,
    /// The time of the event.
    pub occurred_at: OccurredAt,
}

/// The decision model for the removal of a copy.
#[derive(Debug, Default)]
pub struct Model {
    ever_added: bool,
    in_circulation: bool,
    lent: bool,
}

impl RemoveBookCopy {
    fn rejected(&self, reason: Reason) -> Decision {
        let failure = RemovingBookFromCirculationFailed {
            book: self.book,
            failure_info: reason.to_string(),
            occurred_at: self.occurred_at,
        };
        Decision::rejected(failure, reason)
    }
}

impl Command for RemoveBookCopy {
    const NAME: &'static str = "RemoveBookCopy";
    type Model = Model;

    fn filter(&self) -> Result<Filter, Error> {
        Filter::types([
            BookCopyAddedToCirculation::EVENT_TYPE,
            BookCopyRemovedFromCirculation::EVENT_TYPE,
            BookCopyLentToReader::EVENT_TYPE,
            BookCopyReturnedByReader::EVENT_TYPE,
        ])
        .any_of([("BookID", self.book)])
        .build()
    }

    fn apply(&self, model: &mut Model, event: DomainEvent) {
        match event {
            DomainEvent::BookCopyAddedToCirculation(added) if added.book == self.book => {
                model.ever_added = true;
                model.in_circulation = true;
            }
            DomainEvent::BookCopyRemovedFromCirculation(removed) if removed.book == self.book => {
                model.in_circulation = false;
            }
            DomainEvent::BookCopyLentToReader(lent) if lent.book == self.book => {
                model.lent = true;
            }
            DomainEvent::BookCopyReturnedByReader(returned) if returned.book == self.book => {
                model.lent = false;
            }
            _ => {}
        }
    }

    fn decide(&self, model: &Model) -> Decision {
        if !model.ever_added {
            return self.rejected(Reason::BookNeverAdded);
        }
        if !model.in_circulation {
            return Decision::Idempotent;
        }
        if model.lent {
            return self.rejected(Reason::BookCurrentlyLent);
        }
        Decision::success(BookCopyRemovedFromCirculation {
            book: self.book,
            occurred_at: self.occurred_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::decide;
    use crate::fixtures::{added, at, book, lent, reader, removed, returned};

    fn command() -> RemoveBookCopy {
        RemoveBookCopy { book: book(1), occurred_at: at(9) }
    }

    fn success() -> Decision {
        Decision::Success(removed(book(1), 9))
    }

    fn rejected(reason: Reason, failure_info: &str) -> Decision {
        let failure = RemovingBookFromCirculationFailed {
            book: book(1),
            failure_info: failure_info.to_owned(),
            occurred_at: at(9),
        };
        Decision::rejected(failure, reason)
    }

    #[test]
    fn removes_a_copy_in_circulation() {
        assert_eq!(decide(&command(), [added(book(1), 1)]), success());
    }

    #[test]
    fn removes_a_copy_that_was_returned() {
        let history =
            [added(book(1), 1), lent(book(1), reader(1), 2), returned(book(1), reader(1), 3)];

        assert_eq!(decide(&command(), history), success());
    }

    #[test]
    fn removes_a_copy_that_was_added_again() {
        let history = [added(book(1), 1), removed(book(1), 2), added(book(1), 3)];

        assert_eq!(decide(&command(), history), success());
    }

    #[test]
    fn rejects_a_copy_that_was_never_added() {
        let rejection = rejected(Reason::BookNeverAdded, "book was never added to circulation");

        assert_eq!(decide(&command(), []), rejection);
        assert_eq!(decide(&command(), [added(book(2), 1)]), rejection);
    }

    #[test]
    fn checks_that_the_copy_was_added_before_its_loan() {
        let history = [lent(book(1), reader(1), 1)];

        assert_eq!(
            decide(&command(), history),
            rejected(Reason::BookNeverAdded, "book was never added to circulation")
        );
    }

    #[test]
    fn is_idempotent_if_the_copy_is_removed() {
        let history = [added(book(1), 1), removed(book(1), 2)];

        assert_eq!(decide(&command(), history), Decision::Idempotent);
    }

    #[test]
    fn is_idempotent_for_a_removed_copy_even_if_it_is_lent() {
        let history = [added(book(1), 1), lent(book(1), reader(1), 2), removed(book(1), 3)];

        assert_eq!(decide(&command(), history), Decision::Idempotent);
    }

    #[test]
    fn rejects_a_copy_that_is_lent() {
        let history = [added(book(1), 1), lent(book(1), reader(1), 2)];

        assert_eq!(
            decide(&command(), history),
            rejected(Reason::BookCurrentlyLent, "book is currently lent")
        );
    }

    #[test]
    fn rejects_a_copy_that_was_returned_and_lent_again() {
        let history = [
            added(book(1), 1),
            lent(book(1), reader(1), 2),
            returned(book(1), reader(1), 3),
            lent(book(1), reader(2), 4),
        ];

        assert_eq!(
            decide(&command(), history),
            rejected(Reason::BookCurrentlyLent, "book is currently lent")
        );
    }

    #[test]
    fn ignores_the_loans_of_other_copies() {
        let history = [
            added(book(1), 1),
            added(book(2), 2),
            lent(book(2), reader(1), 3),
            removed(book(2), 4),
        ];

        assert_eq!(decide(&command(), history), success());
    }
}

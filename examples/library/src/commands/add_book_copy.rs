use eddyline::{Error, Filter};

use crate::commands::{Command, Decision};
use crate::domain::{
    BookCopyAddedToCirculation, BookCopyRemovedFromCirculation, BookData, BookId, DomainEvent,
    OccurredAt,
};

/// A command to add a copy to circulation, for the first time or after a removal.
#[derive(Clone, Debug)]
pub struct AddBookCopy {
    /// The copy.
    pub book: BookId,
    /// The book of which it is a copy.
    pub data: BookData,
    /// The time of the event.
    pub occurred_at: OccurredAt,
}

/// The decision model for the addition of a copy.
#[derive(Debug, Default)]
pub struct Model {
    in_circulation: bool,
}

impl Command for AddBookCopy {
    const NAME: &'static str = "AddBookCopy";
    type Model = Model;

    fn filter(&self) -> Result<Filter, Error> {
        Filter::types([
            BookCopyAddedToCirculation::EVENT_TYPE,
            BookCopyRemovedFromCirculation::EVENT_TYPE,
        ])
        .any_of([("BookID", self.book)])
        .build()
    }

    fn apply(&self, model: &mut Model, event: DomainEvent) {
        match event {
            DomainEvent::BookCopyAddedToCirculation(added) if added.book == self.book => {
                model.in_circulation = true;
            }
            DomainEvent::BookCopyRemovedFromCirculation(removed) if removed.book == self.book => {
                model.in_circulation = false;
            }
            _ => {}
        }
    }

    fn decide(&self, model: &Model) -> Decision {
        if model.in_circulation {
            return Decision::Idempotent;
        }
        Decision::success(BookCopyAddedToCirculation {
            book: self.book,
            data: self.data.clone(),
            occurred_at: self.occurred_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::decide;
    use crate::fixtures::{added, at, book, data, removed};

    fn command() -> AddBookCopy {
        AddBookCopy { book: book(1), data: data(), occurred_at: at(9) }
    }

    #[test]
    fn adds_a_new_copy() {
        assert_eq!(decide(&command(), []), Decision::Success(added(book(1), 9)));
    }

    #[test]
    fn adds_a_copy_again_after_its_removal() {
        let history = [added(book(1), 1), removed(book(1), 2)];

        assert_eq!(decide(&command(), history), Decision::Success(added(book(1), 9)));
    }

    #[test]
    fn is_idempotent_while_the_copy_is_in_circulation() {
        assert_eq!(decide(&command(), [added(book(1), 1)]), Decision::Idempotent);
    }

    #[test]
    fn is_idempotent_if_the_last_event_is_an_addition() {
        let history = [
            added(book(1), 1),
            removed(book(1), 2),
            added(book(1), 3),
            removed(book(1), 4),
            added(book(1), 5),
        ];

        assert_eq!(decide(&command(), history), Decision::Idempotent);
    }

    #[test]
    fn ignores_other_copies() {
        let history = [added(book(2), 1), added(book(1), 2), removed(book(1), 3)];

        assert_eq!(decide(&command(), history), Decision::Success(added(book(1), 9)));
    }
}

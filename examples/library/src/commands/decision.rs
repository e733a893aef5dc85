use eddyline::{Error, Filter};

use crate::domain::DomainEvent;

/// Asks for a change of the library, and knows the rules by which it is decided.
///
/// Everything here is pure: the same command and the same events give the same decision.
pub trait Command: Sync {
    /// The name of the command.
    const NAME: &'static str;

    /// What is folded from events in order to decide; its default stands for no events.
    type Model: Default + Send;

    /// Returns which events the decision depends on.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidFilter`], which no command of the library gives cause for.
    fn filter(&self) -> Result<Filter, Error>;

    /// Takes an event up into the decision model.
    fn apply(&self, model: &mut Self::Model, event: DomainEvent);

    /// Decides.
    fn decide(&self, model: &Self::Model) -> Decision;
}

/// Decides a command from the events that it depends on, in the order of the log.
pub fn decide<C: Command>(command: &C, events: impl IntoIterator<Item = DomainEvent>) -> Decision {
    let mut model = C::Model::default();
    for event in events {
        command.apply(&mut model, event);
    }
    command.decide(&model)
}

/// Is what a command comes to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Decision {
    /// Nothing is to be done: it is already as the command wants it.
    Idempotent,
    /// The rules forbid it: the failure event is appended and the caller is told why.
    Rejected(DomainEvent, Reason),
    /// It is done by appending the event.
    Success(DomainEvent),
}

impl Decision {
    pub(crate) fn success(event: impl Into<DomainEvent>) -> Self {
        Self::Success(event.into())
    }

    pub(crate) fn rejected(failure: impl Into<DomainEvent>, reason: Reason) -> Self {
        Self::Rejected(failure.into(), reason)
    }
}

/// Says why a command was rejected.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum Reason {
    /// Another reader has the copy.
    #[error("book is already lent")]
    BookAlreadyLent,
    /// A reader has the copy.
    #[error("book is currently lent")]
    BookCurrentlyLent,
    /// The library never had the copy.
    #[error("book was never added to circulation")]
    BookNeverAdded,
    /// The library does not have the copy, or has it no longer.
    #[error("book is not in circulation")]
    BookNotInCirculation,
    /// The reader never borrowed the copy.
    #[error("book is not lent to this reader")]
    BookNotLentToReader,
    /// The reader has copies to bring back.
    #[error("reader has outstanding book loans")]
    LoansOutstanding,
    /// The library never knew the reader.
    #[error("reader was never registered")]
    ReaderNeverRegistered,
    /// The library does not know the reader, or the contract was canceled.
    #[error("reader is not currently registered")]
    ReaderNotRegistered,
    /// The reader has as many copies as a reader may have.
    #[error("reader has too many books")]
    TooManyBooks,
}

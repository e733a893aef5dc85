use eddyline::{Error, Filter};

use crate::domain::DomainEvent;

/// A command: a request to change the library, with the rules that decide it.
///
/// All methods are pure: the same command and the same events give the same decision.
pub trait Command: Sync {
    /// The name of the command.
    const NAME: &'static str;

    /// The decision model, folded from events. Its default is the model of an empty history.
    type Model: Default + Send;

    /// Returns the filter for the events that the decision depends on.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidFilter`] if the filter is invalid, which does not happen for the commands of
    /// the library.
    fn filter(&self) -> Result<Filter, Error>;

    /// Applies an event to the decision model.
    fn apply(&self, model: &mut Self::Model, event: DomainEvent);

    /// Decides the command from the decision model.
    fn decide(&self, model: &Self::Model) -> Decision;
}

/// Decides a command from the events that its filter matches, in the order of the log.
pub fn decide<C: Command>(command: &C, events: impl IntoIterator<Item = DomainEvent>) -> Decision {
    let mut model = C::Model::default();
    for event in events {
        command.apply(&mut model, event);
    }
    command.decide(&model)
}

/// The decision of a command.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Decision {
    /// The library is already in the requested state: nothing is appended.
    Idempotent,
    /// The rules forbid the change: the failure event is appended, and the caller gets the reason.
    Rejected(DomainEvent, Reason),
    /// The rules allow the change: the event is appended.
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

/// The reason for which a command is rejected.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum Reason {
    /// The copy is lent to another reader.
    #[error("book is already lent")]
    BookAlreadyLent,
    /// The copy is lent.
    #[error("book is currently lent")]
    BookCurrentlyLent,
    /// The copy was never added to circulation.
    #[error("book was never added to circulation")]
    BookNeverAdded,
    /// The copy was never added to circulation, or was removed.
    #[error("book is not in circulation")]
    BookNotInCirculation,
    /// The reader never borrowed the copy.
    #[error("book is not lent to this reader")]
    BookNotLentToReader,
    /// The reader has not returned all copies.
    #[error("reader has outstanding book loans")]
    LoansOutstanding,
    /// The reader was never registered.
    #[error("reader was never registered")]
    ReaderNeverRegistered,
    /// The reader was never registered, or the contract is canceled.
    #[error("reader is not currently registered")]
    ReaderNotRegistered,
    /// The reader has the maximum number of copies.
    #[error("reader has too many books")]
    TooManyBooks,
}

use eddyline::{Error, ReadWrite, SequenceNumber, Store};
use uuid::Uuid;

use crate::commands::{Command, Decision, Reason, decide};
use crate::domain::{DecodeError, DomainEvent};

/// Runs commands: reads what a command depends on, decides, and appends.
#[derive(Clone, Debug)]
pub struct CommandHandler {
    store: Store<ReadWrite>,
}

impl CommandHandler {
    /// Makes a handler of commands for a log.
    pub fn new(store: Store<ReadWrite>) -> Self {
        Self { store }
    }

    /// Runs a command.
    ///
    /// What it decided from cannot have changed when its event is stored. Where it did, the command
    /// is decided anew, as it is after a fault that may pass, as often as the store's
    /// [`RetryPolicy`](eddyline::RetryPolicy) says.
    ///
    /// # Errors
    ///
    /// [`CommandError::Rejected`] where the rules forbid it, [`CommandError::Store`] where the
    /// store fails, or other commands came first each time
    /// ([`is_conflict`](CommandError::is_conflict)), [`CommandError::Decode`] where the log holds
    /// what is not the library's.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the command's event was stored or it was not.
    pub async fn handle<C: Command>(&self, command: &C) -> Result<Outcome, CommandError> {
        let filter = command.filter()?;
        let store = self.store.with_scope(C::NAME);
        let decided = store
            .decide(&filter, |history| {
                let events = history.events().iter().map(DomainEvent::try_from);
                let events: Vec<_> = events.collect::<Result<_, _>>()?;
                let (event, rejection) = match decide(command, events) {
                    Decision::Idempotent => {
                        return Ok(eddyline::Decision::nothing().with_value(None));
                    }
                    Decision::Rejected(failure, reason) => {
                        let rejection = (failure.event_type(), reason);
                        (failure, Some(rejection))
                    }
                    Decision::Success(event) => (event, None),
                };
                let event = event.to_event(Uuid::now_v7())?;
                let told = (event.id(), rejection);
                Ok::<_, CommandError>(eddyline::Decision::append([event]).with_value(Some(told)))
            })
            .await?;
        let position = decided.position();
        match decided.into_value() {
            None => Ok(Outcome::Idempotent),
            Some((event_id, None)) => Ok(Outcome::Success(Receipt { event_id, position })),
            Some((event_id, Some((event_type, reason)))) => {
                let receipt = Receipt { event_id, position };
                Err(CommandError::Rejected { event_type, reason, receipt })
            }
        }
    }
}

/// Says how a command ended that the rules do not forbid.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Outcome {
    /// It was already as the command wants it; nothing was stored.
    Idempotent,
    /// Its event was stored.
    Success(Receipt),
}

impl Outcome {
    /// Returns where the command's event was stored, if it stored one.
    pub fn receipt(&self) -> Option<Receipt> {
        match self {
            Self::Idempotent => None,
            Self::Success(receipt) => Some(*receipt),
        }
    }
}

/// Says which event a command stored, and where.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Receipt {
    /// The event.
    pub event_id: Uuid,
    /// Its place: a query answered at this position or later sees it.
    pub position: SequenceNumber,
}

/// Says why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The log holds an event that is not the library's.
    #[error(transparent)]
    Decode(#[from] DecodeError),

    /// The rules forbid it. The failure event was stored.
    #[error("{event_type}: {reason}")]
    Rejected {
        /// The type of the failure event.
        event_type: &'static str,
        /// Why.
        reason: Reason,
        /// The failure event.
        receipt: Receipt,
    },

    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
}

impl CommandError {
    /// Returns whether another command came first: run the command again.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_conflict())
    }
}

use eddyline::telemetry::{HandlerKind, HandlerOutcome};
use eddyline::{Error, ReadWrite, SequenceNumber, Store};
use uuid::Uuid;

use crate::commands::{
    AddBookCopy, CancelReaderContract, Command, Decision, LendBookCopyToReader, Reason,
    RegisterReader, RemoveBookCopy, ReturnBookCopyFromReader, decide,
};
use crate::domain::{DecodeError, DomainEvent};

/// A handler that runs commands: it reads the history of a command, decides and appends.
///
/// Each call is counted, timed and traced under the name of its command, as
/// [`Handler`](eddyline::telemetry::Handler) describes.
#[derive(Clone, Debug)]
pub struct CommandHandler {
    store: Store<ReadWrite>,
}

impl CommandHandler {
    /// Creates a handler for the log of a store.
    pub fn new(store: Store<ReadWrite>) -> Self {
        // Makes the series of all commands visible before there is anything to count.
        for name in NAMES {
            store.handler(HandlerKind::Command, name);
        }
        Self { store }
    }

    /// Runs a command.
    ///
    /// The event is stored only if the history on which the decision depends is unchanged. After a
    /// conflict or a transient error, the handler reads and decides again, within the limits of the
    /// store's [`RetryPolicy`](eddyline::RetryPolicy).
    ///
    /// # Errors
    ///
    /// - [`CommandError::Rejected`] if the rules forbid the change.
    /// - [`CommandError::Store`] if the store fails, or if each attempt ended with a conflict
    ///   ([`is_conflict`](CommandError::is_conflict)).
    /// - [`CommandError::Decode`] if the log has an event that is not valid for the library.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the command's event is stored or not: the outcome is unknown.
    pub async fn handle<C: Command>(&self, command: &C) -> Result<Outcome, CommandError> {
        let (store, handler) = self.store.handler(HandlerKind::Command, C::NAME);
        handler.run(run(&store, command), observed).await
    }
}

/// Reads the history of a command, decides and appends.
async fn run<C: Command>(store: &Store<ReadWrite>, command: &C) -> Result<Outcome, CommandError> {
    let filter = command.filter()?;
    let decided = store
        .decide(&filter, |history| {
            let read = history.events().len();
            let events = history.events().iter().map(DomainEvent::try_from);
            let events: Vec<_> = events.collect::<Result<_, _>>()?;
            let (event, rejection) = match decide(command, events) {
                Decision::Idempotent => {
                    return Ok(eddyline::Decision::nothing().with_value((read, None)));
                }
                Decision::Rejected(failure, reason) => {
                    let rejection = (failure.event_type(), reason);
                    (failure, Some(rejection))
                }
                Decision::Success(event) => (event, None),
            };
            let event = event.to_event(Uuid::now_v7())?;
            let stored = (read, Some((event.id(), rejection)));
            Ok::<_, CommandError>(eddyline::Decision::append([event]).with_value(stored))
        })
        .await?;
    let position = decided.position();
    let effort = Effort {
        events: decided.value().0,
        attempts: decided.attempts(),
        conflicts: decided.conflicts(),
        is_escalated: decided.is_escalated(),
    };
    match decided.into_value().1 {
        None => Ok(Outcome::Idempotent { position, effort }),
        Some((event_id, None)) => Ok(Outcome::Success(Receipt { event_id, position, effort })),
        Some((event_id, Some((event_type, reason)))) => {
            let receipt = Receipt { event_id, position, effort };
            Err(CommandError::Rejected { event_type, reason, receipt })
        }
    }
}

/// Returns the outcome of a command in metrics and traces.
fn observed(result: &Result<Outcome, CommandError>) -> HandlerOutcome {
    match result {
        Ok(Outcome::Idempotent { .. }) => HandlerOutcome::Idempotent,
        Ok(Outcome::Success(_)) => HandlerOutcome::Success,
        Err(CommandError::Decode(_)) => HandlerOutcome::Error,
        Err(CommandError::Rejected { .. }) => HandlerOutcome::Rejected,
        Err(CommandError::Store(error)) => HandlerOutcome::of_error(error),
    }
}

/// The outcome of a command that the rules allow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Outcome {
    /// The library was already in the requested state. Nothing was stored.
    Idempotent {
        /// The position at which it was in that state.
        position: SequenceNumber,
        /// What the decision took.
        effort: Effort,
    },
    /// The event of the command was stored.
    Success(Receipt),
}

impl Outcome {
    /// Returns the stored event, if the command stored one.
    pub fn receipt(&self) -> Option<Receipt> {
        match self {
            Self::Idempotent { .. } => None,
            Self::Success(receipt) => Some(*receipt),
        }
    }
}

/// The id and position of the event that a command stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Receipt {
    /// The id of the event.
    pub event_id: Uuid,
    /// The position of the event. A query that is answered at this position or later sees it.
    pub position: SequenceNumber,
    /// What the decision took.
    pub effort: Effort,
}

/// What the decision of a command took.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Effort {
    /// How many events the last attempt read and decided on.
    pub events: usize,
    /// How many times the handler read and decided, including the last time.
    pub attempts: u32,
    /// How many of these attempts ended with a conflict. The others before the last one ended with
    /// a transient error.
    pub conflicts: u32,
    /// Whether the last attempt ran under the log's lock, after too many conflicts.
    pub is_escalated: bool,
}

/// The error of a command.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The log has an event that is not valid for the library.
    #[error(transparent)]
    Decode(#[from] DecodeError),

    /// The rules forbid the change. The failure event was stored.
    #[error("{event_type}: {reason}")]
    Rejected {
        /// The type of the failure event.
        event_type: &'static str,
        /// The reason.
        reason: Reason,
        /// The id and position of the failure event.
        receipt: Receipt,
    },

    /// The event store failed.
    #[error(transparent)]
    Store(#[from] Error),
}

impl CommandError {
    /// Returns whether the command failed because of a conflict. The caller can run it again.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_conflict())
    }
}

/// The names of all commands.
const NAMES: [&str; 6] = [
    AddBookCopy::NAME,
    CancelReaderContract::NAME,
    LendBookCopyToReader::NAME,
    RegisterReader::NAME,
    RemoveBookCopy::NAME,
    ReturnBookCopyFromReader::NAME,
];

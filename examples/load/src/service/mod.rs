//! The command and query handlers of the library, or a stand-in for tests.

use eddyline::SequenceNumber;
use library::commands::{Command, CommandError, CommandHandler, Outcome};
use library::queries::{Answer, Query, QueryError, QueryHandler};

/// The handlers that a load calls.
#[derive(Clone, Debug)]
pub struct Service {
    commands: CommandHandler,
    queries: QueryHandler,
}

impl Service {
    /// Returns the handlers of the library.
    pub fn library(commands: CommandHandler, queries: QueryHandler) -> Self {
        Self { commands, queries }
    }

    /// Runs a command.
    ///
    /// # Errors
    ///
    /// As for [`CommandHandler::handle`].
    pub async fn run<C: Command>(&self, command: &C) -> Result<Outcome, CommandError> {
        self.commands.handle(command).await
    }

    /// Answers a query at this position or later.
    ///
    /// # Errors
    ///
    /// As for [`QueryHandler::handle`].
    pub async fn answer<Q: Query>(
        &self,
        query: &Q,
        position: SequenceNumber,
    ) -> Result<Answer<Q::Answer>, QueryError> {
        self.queries.at_least(position).handle(query).await
    }
}

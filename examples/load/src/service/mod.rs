//! The command and query handlers of the library, or a stand-in for tests.

mod chance;
mod null;
mod sabotage;

use std::sync::Arc;

use eddyline::{ReadOnly, ReadWrite, SequenceNumber, Store};
use library::commands::{Command, CommandError, CommandHandler, Outcome};
use library::queries::{Answer, Query, QueryError, QueryHandler};

use self::null::Null;
use self::sabotage::BrokenStore;
use crate::plan::Aim;

pub use self::sabotage::Sabotage;

/// The handlers that a load calls. Clones share everything.
#[derive(Clone, Debug)]
pub struct Service {
    handlers: Handlers,
}

#[derive(Clone, Debug)]
enum Handlers {
    Library { commands: CommandHandler, queries: QueryHandler },
    Null(Arc<Null>),
    Sabotaged { commands: CommandHandler, queries: QueryHandler, store: Arc<BrokenStore> },
}

impl Service {
    /// Returns the handlers of the library.
    pub fn library(commands: CommandHandler, queries: QueryHandler) -> Self {
        Self { handlers: Handlers::Library { commands, queries } }
    }

    /// Returns handlers that answer at once and have no store. With them, a load measures the
    /// generator itself.
    pub fn null() -> Self {
        Self { handlers: Handlers::Null(Arc::default()) }
    }

    /// Returns the handlers of the library on a store that is broken on purpose. The audit of such
    /// a load must have findings.
    pub fn sabotaged(
        sabotage: Sabotage,
        writer: Store<ReadWrite>,
        reader: Store<ReadOnly>,
    ) -> Self {
        let commands = CommandHandler::new(writer.clone());
        let queries = QueryHandler::new(reader.clone());
        let store = Arc::new(BrokenStore::new(sabotage, writer, reader));
        Self { handlers: Handlers::Sabotaged { commands, queries, store } }
    }

    /// Returns whether there is a log behind the handlers.
    pub fn has_log(&self) -> bool {
        !matches!(self.handlers, Handlers::Null(_))
    }

    /// Runs a command. Handlers without a store let it end as `aim` says.
    ///
    /// # Errors
    ///
    /// As for [`CommandHandler::handle`].
    pub async fn run<C: Command>(&self, command: &C, aim: Aim) -> Result<Outcome, CommandError> {
        match &self.handlers {
            Handlers::Library { commands, .. } => commands.handle(command).await,
            Handlers::Null(null) => null.run(aim),
            Handlers::Sabotaged { commands, store, .. } => match store.run(command).await? {
                Some(reply) => reply.into_result(),
                None => commands.handle(command).await,
            },
        }
    }

    /// Answers a query at this position or later.
    ///
    /// # Errors
    ///
    /// As for [`QueryHandler::handle`].
    pub async fn answer<Q>(
        &self,
        query: &Q,
        position: SequenceNumber,
    ) -> Result<Answer<Q::Answer>, QueryError>
    where
        Q: Query,
        Q::Answer: PartialEq,
    {
        match &self.handlers {
            Handlers::Library { queries, .. } => queries.at_least(position).handle(query).await,
            Handlers::Null(null) => Ok(null.answer(query, position)),
            Handlers::Sabotaged { queries, store, .. } => {
                if let Some(answer) = store.answer(query, position).await? {
                    return Ok(answer);
                }
                queries.at_least(position).handle(query).await
            }
        }
    }
}

//! A public library, event-sourced on [`eddyline`].
//!
//! Readers register, borrow copies of books and return them. There are no tables of books, readers
//! or loans, and no aggregates. There is one log of events, and each decision reads only the events
//! that it depends on.
//!
//! - [`domain`] defines the contents of the log: ten event types with their ids and times.
//! - [`commands`] append to the log. Each command is one file: its arguments, the filter for the
//!   events that it depends on, the decision model, and the rules of the decision.
//! - [`queries`] only read. Each query is one file: its filter, its projection and its answer.
//!
//! The command handler has a `Store<ReadWrite>`, the query handler a `Store<ReadOnly>`: a query
//! that appends does not compile.
//!
//! ```no_run
//! use eddyline::{Config, ReadOnly, ReadWrite, Store};
//! use library::commands::{CommandHandler, LendBookCopyToReader};
//! use library::domain::{BookId, OccurredAt, ReaderId};
//! use library::queries::{BooksLentByReader, QueryHandler};
//!
//! # async fn lend(book: BookId, reader: ReaderId) -> Result<(), Box<dyn std::error::Error>> {
//! let primary = Config::new("postgres://primary/library")?;
//! let replica = Config::new("postgres://replica/library")?;
//! let commands = CommandHandler::new(Store::<ReadWrite>::connect(primary).await?);
//! let queries = QueryHandler::new(Store::<ReadOnly>::connect(replica).await?);
//!
//! let lend = LendBookCopyToReader {
//!     book,
//!     reader,
//!     occurred_at: OccurredAt::now(),
//! };
//! let outcome = commands.handle(&lend).await?;
//!
//! let loans = BooksLentByReader { reader };
//! let answer = match outcome.receipt() {
//!     Some(receipt) => queries.at_least(receipt.position).handle(&loans).await?,
//!     None => queries.handle(&loans).await?,
//! };
//! println!("{} books on loan at {}", answer.value.len(), answer.position);
//! # Ok(())
//! # }
//! ```

pub mod commands;
pub mod domain;
pub mod queries;

#[cfg(test)]
mod fixtures;

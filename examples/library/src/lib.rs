//! A public library, event-sourced on [`eddyline`].
//!
//! Readers register, borrow copies of books and bring them back. There are no tables of books,
//! readers or loans, and no aggregates: there is one log of events, and each decision reads just
//! the events that it depends on.
//!
//! - [`domain`] holds what is said in the log: ten event types, and the ids and times in them.
//! - [`commands`] change the log. A command is one file: what it asks for, which events it depends
//!   on, what it folds from them, and the rules by which it decides.
//! - [`queries`] only read. A query is one file too: its filter, what it folds, and its answer.
//!
//! Command handlers hold a `Store<ReadWrite>`, query handlers a `Store<ReadOnly>`: a query that
//! appends does not compile.
//!
//! ```no_run
//! use eddyline::{Config, ReadOnly, ReadWrite, Store};
//! use library::commands::{CommandHandler, LendBookCopyToReader};
//! use library::domain::{BookId, OccurredAt, ReaderId};
//! use library::queries::{BooksLentByReader, QueryHandler};
//!
//! # async fn visit(book: BookId, reader: ReaderId) -> Result<(), Box<dyn std::error::Error>> {
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

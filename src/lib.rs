//! An event store for dynamic consistency boundaries on PostgreSQL.
//!
//! A command reads the events that *its own filter* selects, by event type and by what their JSON
//! payload holds; decides; and appends new events on the condition that nothing which matches that
//! filter was committed since it read. There are no streams to design beforehand, and no locks to
//! hold while deciding.
//!
//! ```no_run
//! use eddyline::{Config, Decision, Error, Event, Filter, ReadOnly, ReadWrite, Schema, Store};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), eddyline::Error> {
//! let primary = Config::new("postgres://primary/library")?;
//! Schema::new(&primary).migrate().await?;
//! let writer = Store::<ReadWrite>::connect(primary).await?;
//!
//! let loans = Filter::types(["BookCopyLentToReader", "BookCopyReturnedByReader"])
//!     .any_of([("BookID", "b-7")])
//!     .build()?;
//! let decided = writer
//!     .decide(&loans, |history| {
//!         let last = history.events().last();
//!         if last.is_some_and(|last| last.event_type() == "BookCopyLentToReader") {
//!             return Ok::<_, Error>(Decision::nothing());
//!         }
//!         let loan = serde_json::json!({ "BookID": "b-7", "ReaderID": "r-1" });
//!         Ok(Decision::append([Event::new("BookCopyLentToReader", &loan)?]))
//!     })
//!     .await?;
//!
//! let replicas = Config::new("postgres://replica-a/library")?
//!     .replica("postgres://replica-b/library")?;
//! let reader = Store::<ReadOnly>::connect(replicas).await?;
//! let seen = reader.at_least(decided.position()).query(&loans).await?;
//! assert!(seen.position() >= decided.position());
//! # Ok(())
//! # }
//! ```
//!
//! # Two modes
//!
//! [`Store<ReadWrite>`](Store) works on the primary, [`Store<ReadOnly>`](Store) on any number of
//! replicas. The mode is a type parameter: to append through a read-only store, or to make an
//! append condition of what one returned, does not compile ([`Mode`] shows it), and the server
//! refuses writes on its connections.
//!
//! # Filters and conditions
//!
//! A [`Filter`] selects events. Predicates on arrays select by tags, as the specification of dynamic
//! consistency boundaries has them: `docs/tags.md` beside the sources says how. An [`AppendCondition`] says which events must not have come, and
//! since when: usually those of a [`History`], since it was read. Where one has come the append
//! fails with [`Error::Conflict`], which names it; then read and decide again. Appends whose events
//! do not match each other's filters never fail each other. [`Store::decide`] does all of it.
//!
//! # One log, one order
//!
//! Events have a [`SequenceNumber`] in commit order. Who has seen one can see all below it, on the
//! primary and on every replica, so that reading on from a position
//! ([`Query::after`]) misses nothing. An append returns its position; a read-only store reads at
//! that position or later ([`Store::at_least`]).
//!
//! [`Store::import`] appends many events at once, from a stream.
//!
//! # What can go wrong
//!
//! Every failure is an [`Error`], whose [`Class`] tells what may be done about it: try the same
//! again, decide again, look whether it was done, or change something first. `SAFETY.md` beside the
//! sources has each promise of this crate, how it is kept, and the tests that try to break it.
//!
//! # Trying again
//!
//! A store tries again what may be tried again, and finds out what became of an append whose answer
//! was lost: [`Config::retry`]. The events' ids see to it that nothing is stored twice.
//!
//! A [`Retry`] does anything again after faults that pass, under a [`RetryPolicy`]: how often, how
//! long after, until when, and with which share of all calls, so that retries do not become a
//! storm. [`RetryPolicy::from_env`] reads it from the environment.
//!
//! # Telemetry
//!
//! Operations are measured and traced through OpenTelemetry's API: see [`Telemetry`].

mod address;
mod condition;
mod config;
mod decision;
pub mod error;
mod event;
pub mod filter;
mod history;
mod imported;
mod json;
pub mod limits;
mod log_name;
mod mode;
mod pool;
mod position;
mod query;
pub mod retry;
mod schema;
mod server;
mod sql;
mod store;
mod telemetry;
mod tls;

/// The crates of ids and times, whose types are part of this crate's signatures.
pub use {jiff, uuid};

pub use crate::condition::AppendCondition;
pub use crate::config::{Config, Pooler, QueueFull, Tls};
pub use crate::decision::{Decided, Decision};
#[doc(inline)]
pub use crate::error::{Class, Classify, Error};
pub use crate::event::{Event, SequencedEvent};
#[doc(inline)]
pub use crate::filter::{Filter, Predicate};
pub use crate::history::{Appended, History};
pub use crate::mode::{Mode, ReadOnly, ReadWrite, Role};
pub use crate::position::SequenceNumber;
pub use crate::query::Query;
#[doc(inline)]
pub use crate::retry::RetryPolicy;
pub use crate::schema::Schema;
pub use crate::store::{EventStream, Store};
pub use crate::telemetry::Telemetry;

/// Bulk import: what a source may yield, how far an import has come, and why it ended early.
///
/// [`Store::import`] starts one.
pub mod import {
    pub use crate::imported::{ImportError, Importable, Imported};
    pub use crate::store::Import;
}

/// Renders the statements of a query, for the fuzz target that looks for values in them.
#[cfg(fuzzing)]
#[doc(hidden)]
pub fn sql_text(query: &Query) -> String {
    let Ok(log) = log_name::LogName::new("public", "events") else { return String::new() };
    let reading = sql::Reading::new(&log, query);
    let statements = [reading.all(), reading.few()];
    statements.into_iter().flatten().map(|statement| statement.text + ";").collect()
}

/// Compiles the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Compiles the examples of the page on tags.
#[cfg(doctest)]
#[doc = include_str!("../docs/tags.md")]
struct Tags;

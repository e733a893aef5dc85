//! An event store for dynamic consistency boundaries on PostgreSQL.
//!
//! A command reads the events that its own filter selects, by event type and by values of their
//! JSON payload. It decides, and appends new events on the condition that no event which matches
//! the filter was committed since the read. There are no streams to design in advance, and no locks
//! are held while a command decides.
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
//! let history = reader.at_least(decided.bookmark()).query(&loans).await?;
//! assert!(history.position() >= decided.position());
//! # Ok(())
//! # }
//! ```
//!
//! # Two modes
//!
//! A [`Store<ReadWrite>`](Store) uses the primary, a [`Store<ReadOnly>`](Store) any number of
//! replicas. The mode is a type parameter: appending through a read-only store does not compile,
//! and neither does making an append condition from its history ([`Mode`] has examples). The server
//! refuses writes on its connections as well.
//!
//! # Filters and conditions
//!
//! A [`Filter`] selects events. Predicates on arrays select by tags, as the specification of
//! dynamic consistency boundaries describes; see `docs/tags.md` in the repository. An
//! [`AppendCondition`] names a filter and a position: no event after that position may match the
//! filter. Usually it comes from the [`History`] that the append is based on. If an event breaks
//! it, the append fails with [`Error::Conflict`], which names that event; read again, decide again.
//! Appends whose events do not match each other's filters never conflict. [`Store::decide`] does
//! all of this.
//!
//! # One log, one order
//!
//! Events have a [`SequenceNumber`] in commit order. A read that sees an event sees all events
//! below it, on the primary and on every replica. So reading on from a position ([`Query::after`])
//! misses nothing. An append returns its position, and a read-only store can read at that position
//! or later ([`Store::at_least`]). A [`Causality`] does so for all appends and reads of a request
//! or a session.
//!
//! A position travels as a [`Bookmark`], which is refused if a failover has lost its event.
//!
//! [`Store::import`] appends many events from a stream.
//!
//! # Errors
//!
//! Every failure is an [`Error`]. Its [`Class`] says what may be done about it: try again, decide
//! again, find out whether the events were stored, or change something first. `SAFETY.md` in the
//! repository lists each promise of this crate, how it is kept, and the tests that try to break it.
//!
//! # Retries
//!
//! A store retries transient failures, and finds out what became of an append whose answer was
//! lost, as [`Config::retry`] says. The ids of the events ensure that nothing is stored twice. The
//! module [`retry`] retries other operations by the same rules. [`RetryPolicy::from_env`] reads the
//! rules from the environment.
//!
//! # Telemetry
//!
//! Operations are measured and traced through the API of OpenTelemetry; see [`Telemetry`].
//! [`Store::handler`] does so for the command and query handlers of the application. With the
//! feature `tracing`, failures are log records as well. `docs/traces.md` in the repository
//! describes spans and records.
//!
//! # Features
//!
//! - `ring` (default): TLS with the cryptography of ring.
//! - `aws-lc-rs`: TLS with the cryptography of aws-lc-rs, which takes precedence over ring. One of
//!   the two is required.
//! - `telemetry` (default): metrics and traces through OpenTelemetry.
//! - `bound-instruments`: binds each series to its attributes in advance, by an experimental
//!   feature of OpenTelemetry. Recording is cheaper, and histograms are visible with a count of 0
//!   before the first value. The meter must be one of `opentelemetry_sdk`.
//! - `tracing`: log records through [tracing](https://docs.rs/tracing), with the target `eddyline`.
//!   Enables `telemetry`.

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
compile_error!("eddyline needs the feature `ring` or the feature `aws-lc-rs` for TLS");

mod address;
mod bookmark;
mod causality;
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
mod replica;
pub mod retry;
mod schema;
mod server;
mod sql;
mod store;
pub mod telemetry;
mod tls;

/// Crates whose types are part of this crate's signatures.
#[cfg(feature = "telemetry")]
pub use opentelemetry;
pub use {futures_core, jiff, tokio_postgres, uuid};

pub use crate::bookmark::Bookmark;
pub use crate::causality::Causality;
pub use crate::condition::AppendCondition;
pub use crate::config::{Config, Fallback, Pooler, QueueFull, Replica, Tls};
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
pub use crate::replica::{ReplicaState, ReplicaStatus, ServedBy};
#[doc(inline)]
pub use crate::retry::RetryPolicy;
pub use crate::schema::Schema;
pub use crate::store::{EventStream, Store};
#[doc(inline)]
pub use crate::telemetry::Telemetry;

/// Bulk import: the items of its source, its progress, and its error.
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

/// Compiles the example of the page on metrics.
#[cfg(all(doctest, feature = "telemetry"))]
#[doc = include_str!("../docs/metrics.md")]
struct Metrics;

//! Errors, and the classes that say what the caller can do about them.
//!
//! | question | class | what to do |
//! | --- | --- | --- |
//! | [`is_conflict`](Error::is_conflict) | [`Class::Conflict`] | read again, decide again |
//! | [`is_transient`](Error::is_transient) | [`Class::Transient`] | try again after a pause |
//! | [`is_timeout`](Error::is_timeout) | [`Class::Timeout`], and a lock timeout, which is transient | allow more time, or ask for less |
//! | [`is_outcome_unknown`](Error::is_outcome_unknown) | [`Class::OutcomeUnknown`] | append the same events again, with the same ids |
//! | [`is_canceled`](Error::is_canceled) | [`Class::Canceled`] | nothing: it was canceled on purpose |
//! | | [`Class::Permanent`] | correct what its [`Reason`] names |
//!
//! Nothing was stored, unless the outcome is unknown. The documentation of [`Class`] lists the
//! class of each SQLSTATE and of each way in which a connection fails.
//!
//! ```no_run
//! # use eddyline::{AppendCondition, Error, Event, ReadWrite, Store};
//! # async fn example(
//! #     writer: Store<ReadWrite>, events: Vec<Event>, condition: AppendCondition
//! # ) -> Result<(), Error> {
//! match writer.append(events.clone(), condition.clone()).await {
//!     Ok(appended) => println!("stored at {}", appended.last()),
//!     Err(Error::Conflict { position, event_type, .. }) => {
//!         println!("read again: {event_type} was committed at {position}");
//!     }
//!     // The ids of the events make it safe to append them again.
//!     Err(error) if error.is_outcome_unknown() => {
//!         writer.append(events, condition).await?;
//!     }
//!     Err(error) => return Err(error),
//! }
//! # Ok(())
//! # }
//! ```

mod advice;
mod class;
mod classify;
mod failure;
mod questions;
mod sqlstate;
mod text;
mod variants;

use std::sync::Arc;

pub(crate) use self::advice::MIGRATE;
pub use self::class::{Class, Classify, Reason};
pub(crate) use self::classify::{Circumstances, Phase};
pub(crate) use self::failure::{ConnectionFailure, Failure, unreachable_because};
pub use self::sqlstate::SqlState;
pub use self::variants::Error;

/// The source of an [`Error`], shared by its clones.
pub(crate) type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// Any error, as drivers and conversions return it.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Makes an error shareable.
pub(crate) fn cause(source: impl Into<BoxError>) -> Cause {
    Arc::from(source.into())
}

//! An event store for dynamic consistency boundaries on PostgreSQL.

mod condition;
mod error;
mod event;
mod filter;
mod history;
mod json;
mod mode;
mod position;
mod query;

pub use crate::condition::AppendCondition;
pub use crate::error::{Error, SqlState};
pub use crate::event::{Event, MAX_EVENT_TYPE_BYTES, MAX_JSON_BYTES, SequencedEvent};
pub use crate::filter::{Filter, FilterBuilder, FilterKey, MAX_FILTER_TERMS, Predicate};
pub use crate::history::{Appended, History};
pub use crate::mode::{Mode, ReadOnly, ReadWrite, Role};
pub use crate::position::SequenceNumber;
pub use crate::query::Query;

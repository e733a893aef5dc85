//! An event store for dynamic consistency boundaries on PostgreSQL.

mod condition;
mod config;
mod error;
mod event;
mod filter;
mod history;
mod json;
mod log;
mod mode;
mod pool;
mod position;
mod query;
mod schema;
mod server;
mod sql;
mod store;
mod telemetry;
mod tls;

pub use crate::condition::AppendCondition;
pub use crate::config::{Config, Tls};
pub use crate::error::{Error, SqlState};
pub use crate::event::{Event, MAX_EVENT_TYPE_BYTES, MAX_JSON_BYTES, SequencedEvent};
pub use crate::filter::{Filter, FilterBuilder, FilterKey, MAX_FILTER_TERMS, Predicate};
pub use crate::history::{Appended, History};
pub use crate::mode::{Mode, ReadOnly, ReadWrite, Role};
pub use crate::position::SequenceNumber;
pub use crate::query::Query;
pub use crate::schema::Schema;
pub use crate::store::{EventStream, MAX_APPEND_BYTES, MAX_APPEND_EVENTS, Store};
pub use crate::telemetry::Telemetry;

//! Statements and their parameters. Text is made of constants, checked identifiers and parameter
//! numbers; every value is bound.

mod append_batch;
mod events;
mod filter;
mod inspect;
mod lock;
mod newer;
mod objects;
mod param;
mod plan;
mod procedure;
mod read;
mod schema;
mod search;
mod settings;
mod table;
mod triggers;

pub(crate) use self::append_batch::{
    AppendTexts, BatchAnswer, ConflictProbe, Precondition, TransactionEnd, append_batch,
};
pub(crate) use self::inspect::{
    Found, INSPECTION, Inspection, Numbers, Standing, lock_table, quoted, rename, set_sequence,
    standing, widen_sequence,
};
pub(crate) use self::lock::{
    HeldTimeouts, IDLE_TIMEOUT, lock_holder, lock_to_decide, wait_for_client,
};
pub(crate) use self::objects::{Kind, Object, objects};
pub(crate) use self::param::Statement;
pub(crate) use self::plan::StatementPlan;
pub(crate) use self::read::{Reading, decode_event, decode_head, head, is_head, read};
pub(crate) use self::schema::{VERSION, grants, prepare, set_version, settings};
pub(crate) use self::search::{Finding, HeldEvent, SearchBatch, held_events, search};
pub(crate) use self::settings::{PROBE_AFTER, PROBE_EVERY, PROBES, Settings, begin};
pub(crate) use self::table::create_table;
use crate::log_name::LogName;

/// Names the constraint by which the log refuses an event that it holds already.
pub(crate) fn ids_constraint(log: &LogName) -> String {
    format!("{}_event_id_key", log.log())
}

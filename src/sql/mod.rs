//! SQL statements and their parameters. The text of a statement consists of constants, checked
//! identifiers and placeholders. Every value is a bound parameter.

mod append_batch;
mod conflict_probe;
mod epoch;
mod epoch_list;
mod events;
mod filter;
mod head;
mod inspect;
mod lock;
mod newer;
mod objects;
mod observe;
mod param;
mod plan;
mod procedure;
mod read;
mod schema;
mod search;
mod settings;
mod statement;
mod table;
mod triggers;
mod versions;

pub(crate) use self::append_batch::{
    AppendTexts, BatchAnswer, Precondition, TransactionEnd, append_batch,
};
pub(crate) use self::conflict_probe::ConflictProbe;
pub(crate) use self::epoch_list::{EpochList, epochs};
pub(crate) use self::head::{BoundCheck, Head};
pub(crate) use self::inspect::{
    INSPECTION, Inspection, InspectionRow, LogStatus, OF_UNSUITABLE_OWNER, SequenceState,
    lock_table, log_status, quoted, rename, set_sequence, widen_sequence,
};
pub(crate) use self::lock::{
    IDLE_TIMEOUT, LockedTimeouts, lock_holder, lock_to_decide, wait_for_client,
};
pub(crate) use self::objects::{ObjectKind, SchemaObject, objects};
pub(crate) use self::observe::{Observation, decode_identity, identity, observe, server_facts};
pub(crate) use self::plan::StatementPlan;
pub(crate) use self::read::{Reading, decode_event, is_head};
pub(crate) use self::schema::{
    NO_TIMEOUTS, VERSION, add_identity, grants, prepare, set_version, settings,
};
pub(crate) use self::search::{HeldEvent, SearchAnswer, SearchBatch, held_events, search};
pub(crate) use self::settings::{PROBE_AFTER, PROBE_EVERY, PROBES, RENAME, Settings, begin};
pub(crate) use self::statement::Statement;
pub(crate) use self::table::create_table;
use crate::log_name::LogName;

/// Returns the name of the unique constraint on event ids, which refuses an event that the log
/// holds already.
pub(crate) fn ids_constraint(log: &LogName) -> String {
    format!("{}_event_id_key", log.log())
}

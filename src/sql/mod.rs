//! Statements and their parameters. Text is made of constants, checked identifiers and parameter
//! numbers; every value is bound.

mod append;
mod backend;
mod events;
mod filter;
mod import;
mod inspect;
mod judged;
mod lock;
mod objects;
mod param;
mod read;
mod schema;
mod settings;
mod table;
mod triggers;

pub(crate) use self::append::{Append, Occasion, Staleness, Verdict, ids_constraint};
pub(crate) use self::backend::{end_backends, own_backend};
pub(crate) use self::import::{decode_import, import};
pub(crate) use self::inspect::{
    Found, INSPECTION, Inspection, Numbers, Standing, lock_table, rename, set_sequence, standing,
    widen_sequence,
};
pub(crate) use self::judged::{Proviso, StoreTexts, Stored, Unmet, store};
pub(crate) use self::lock::{
    IDLE_TIMEOUT, Waits, lock, lock_holder, lock_to_decide, plan_by_value, wait_for_client,
};
pub(crate) use self::objects::{Kind, Object, objects};
pub(crate) use self::param::Statement;
pub(crate) use self::read::{
    Planning, Reading, decode_event, decode_head, head, is_head, plan, read,
};
pub(crate) use self::schema::{VERSION, grants, prepare, set_version, settings};
pub(crate) use self::settings::{PROBE_AFTER, PROBE_EVERY, PROBES, Settings, begin};
pub(crate) use self::table::{create_table, sequence_name};

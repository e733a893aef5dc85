use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::head::version_of;
use super::param::Time;
use super::statement::Statement;
use crate::bookmark::Epoch;
use crate::log_name::LogName;
use crate::{Bookmark, Role, SequenceNumber};

/// What a server tells about itself and about a log, in one snapshot. The time of its clock is not
/// part of it, since no decision depends on that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Observation {
    /// The log's head, with its epoch.
    pub(crate) head: Bookmark,
    /// The identity of the log. A standby and a copy have the same one.
    pub(crate) log_id: Uuid,
    /// Whether the server is a standby.
    pub(crate) in_recovery: bool,
    /// The timeline of the server's WAL. A standby that follows another one to a new timeline may
    /// show it later.
    pub(crate) timeline: u32,
    /// When the server started, by its own clock. Two servers do not have the same time, unless one
    /// is asked under two names.
    pub(crate) started_at: Timestamp,
}

/// Renders the query for the identity of a log and, on the primary, for its head: a read-only store
/// may have a view as its log, whose rows are not read before they are needed. [`decode_identity`]
/// decodes its row.
pub(crate) fn identity(log: &LogName, role: Role) -> String {
    let head = match role {
        Role::Primary => {
            format!("coalesce((SELECT max(sequence_number) FROM {}), 0)", log.table())
        }
        Role::Replica => "0::bigint".to_owned(),
    };
    format!("SELECT version.log_id, version.epoch, {head} FROM {}", version_of(log))
}

/// Decodes the row of [`identity`].
pub(crate) fn decode_identity(row: &Row) -> Result<(Uuid, Bookmark), tokio_postgres::Error> {
    let head = SequenceNumber::from_bigint(row.try_get(2)?);
    Ok((row.try_get(0)?, Bookmark::new(head, Epoch::new(row.try_get(1)?))))
}

/// Renders the query for the facts that each new connection is checked for, one column each: the
/// number and the name of the server's version, the encoding, whether the server is a standby,
/// whether its transactions are read-only by default, its timeline, the identity of the log if it
/// has to be compared, and the identifier of the cluster.
pub(crate) fn server_facts(log: Option<&LogName>) -> String {
    let log_id = match log {
        Some(log) => format!("(SELECT version.log_id FROM {})", version_of(log)),
        None => "NULL".to_owned(),
    };
    format!(
        "SELECT current_setting('server_version_num'), current_setting('server_version'),
             current_setting('server_encoding'), pg_is_in_recovery(),
             current_setting('default_transaction_read_only'), {TIMELINE}, {log_id},
             (SELECT system_identifier FROM pg_control_system())"
    )
}

/// The timeline of the server's WAL. Each branch of CASE fails on a server in the other state.
const TIMELINE: &str = "CASE WHEN pg_is_in_recovery()
    THEN (SELECT min_recovery_end_timeline FROM pg_control_recovery())
    ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer END";

/// Renders the statement for an [`Observation`]. It needs no privileges but those of a reader. The
/// answer has no row if the log has none in `eddyline_schema`.
pub(crate) fn observe(log: &LogName) -> Statement<'static> {
    let (table, version) = (log.table(), version_of(log));
    let text = format!(
        "SELECT coalesce((SELECT max(sequence_number) FROM {table}), 0), version.epoch,
             version.log_id, pg_is_in_recovery(), {TIMELINE}, pg_postmaster_start_time()
         FROM {version}"
    );
    Statement::without_params(text)
}

impl Observation {
    /// Returns what the server was in the snapshot.
    pub(crate) fn role(&self) -> Role {
        if self.in_recovery { Role::Replica } else { Role::Primary }
    }

    /// Decodes the row of [`observe`].
    pub(crate) fn decode(row: &Row) -> Result<Self, tokio_postgres::Error> {
        let position = SequenceNumber::from_bigint(row.try_get(0)?);
        let timeline: i32 = row.try_get(4)?;
        let Time(started_at) = row.try_get(5)?;
        Ok(Self {
            head: Bookmark::new(position, Epoch::new(row.try_get(1)?)),
            log_id: row.try_get(2)?,
            in_recovery: row.try_get(3)?,
            timeline: timeline.cast_unsigned(),
            started_at,
        })
    }
}

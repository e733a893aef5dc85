use super::lock::lock_key;
use super::statement::Placeholder;
use crate::log_name::{LogName, UNVERSIONED};

/// Renders the function that returns the log's epoch, after it has begun a new one if another
/// incarnation appended last (Lemma 8).
///
/// It is called by the append procedure, and by the trigger before a foreign INSERT, once for each
/// session: the setting of [`setting`] then has the epoch. The setting is rolled back together with
/// the epoch that it names. So a session that has it needs no check: its backend ends with the
/// incarnation of the server.
///
/// An *incarnation* is a run of a server, on a timeline, for a table. The oids are those of the
/// database and the table: a copy of the log on the same server is another incarnation. The
/// timeline changes with a promotion, which some sessions of a standby survive. They have not
/// appended before.
///
/// The function writes to a table that no writer may change, so it has its owner's rights. Whoever
/// calls it can do no harm: it takes the log's lock and looks at the head itself.
///
/// At REPEATABLE READ the snapshot may be older than the lock. If another session has begun the
/// epoch since, the UPDATE fails with 40001. If not, nothing was appended since either.
pub(super) fn begin_epoch(log: &LogName) -> String {
    let (schema, name, table, function) = (log.schema(), log.log(), log.table(), function(log));
    let (key, setting) = (lock_key(log), setting(log));
    format!(
        "CREATE OR REPLACE FUNCTION {function}() RETURNS uuid
         LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ DECLARE
             incarnation text;
             current uuid;
         BEGIN
             PERFORM pg_advisory_xact_lock({key});
             incarnation := concat_ws('/', left(pg_walfile_name(pg_current_wal_lsn()), 8),
                 to_char(timezone('UTC', pg_postmaster_start_time()), 'YYYYMMDDHH24MISSUS'),
                 (SELECT oid FROM pg_database WHERE datname = current_database()),
                 '{table}'::regclass::oid);
             UPDATE \"{schema}\".eddyline_schema AS version SET
                 ended_epochs = version.ended_epochs || version.epoch,
                 ends = version.ends || coalesce((SELECT max(sequence_number) FROM {table}), 0),
                 epoch = gen_random_uuid(), epoch_server = incarnation
             WHERE version.log = '{name}' AND version.epoch_server <> incarnation;
             SELECT version.epoch INTO current
             FROM \"{schema}\".eddyline_schema AS version WHERE version.log = '{name}';
             IF current IS NULL THEN
                 RAISE EXCEPTION 'eddyline_schema has no row for log {log}'
                     USING ERRCODE = '{UNVERSIONED}',
                     HINT = 'Run eddyline::Schema::migrate, which repairs it.';
             END IF;
             PERFORM set_config({setting}, current::text, false);
             RETURN current;
         END $$"
    )
}

/// Renders the expression for the log's epoch in a session that appends.
pub(super) fn epoch(log: &LogName) -> String {
    let (setting, function) = (setting(log), function(log));
    format!(
        "CASE WHEN pg_catalog.current_setting({setting}, true) OPERATOR(pg_catalog.<>) ''
             THEN pg_catalog.current_setting({setting}, true)::pg_catalog.uuid
             ELSE {function}() END"
    )
}

/// Renders the expression for the position up to which the log has the events of an epoch: the
/// highest number if it is the current one, and NULL if the log does not know it. `version` is the
/// log's row in `eddyline_schema`.
pub(super) fn end_of_epoch(epoch: &Placeholder) -> String {
    format!(
        "CASE WHEN {epoch} = version.epoch THEN {}
             ELSE version.ends[array_position(version.ended_epochs, {epoch})] END",
        i64::MAX
    )
}

/// Renders the name of the setting that holds the log's epoch in a session that has verified it.
/// The name has the table's oid: a session may outlive a log that is dropped and created again.
fn setting(log: &LogName) -> String {
    format!(
        "'eddyline.epoch.t' OPERATOR(pg_catalog.||)
             '{}'::pg_catalog.regclass::pg_catalog.oid::pg_catalog.text",
        log.table()
    )
}

/// Returns the quoted, schema-qualified name of the function [`begin_epoch`].
pub(super) fn function(log: &LogName) -> String {
    format!("\"{}\".\"{}_begin_epoch\"", log.schema(), log.log())
}

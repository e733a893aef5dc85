use super::lock::lock_key;
use super::statement::Placeholder;
use crate::log_name::{LogName, UNVERSIONED};

/// Renders the function that returns the log's epoch, after it has begun a new one if another
/// incarnation appended last (Lemma 8).
///
/// It is called by the append procedure, and by the trigger before a foreign INSERT, until the
/// session has found the epoch begun: a setting then has the epoch. So a session that has it needs
/// no check: its backend ends with the incarnation of the server. In a transaction that begins the
/// epoch itself, the setting ends with the transaction. A rollback would take back both, but after
/// `PREPARE TRANSACTION` the session would keep the setting, and another one may roll back.
///
/// A log that was restored may have fewer events than its row says. No former epoch then ends above
/// the head: the numbers above it are given to other events.
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
    let (key, setting) = (lock_key(log), setting_of_table(SETTING, log));
    format!(
        "CREATE OR REPLACE FUNCTION {function}() RETURNS uuid
         LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ DECLARE
             incarnation text;
             head bigint;
             current uuid;
             is_new boolean;
         BEGIN
             PERFORM pg_advisory_xact_lock({key});
             incarnation := concat_ws('/', left(pg_walfile_name(pg_current_wal_lsn()), 8),
                 to_char(timezone('UTC', pg_postmaster_start_time()), 'YYYYMMDDHH24MISSUS'),
                 (SELECT oid FROM pg_database WHERE datname = current_database()),
                 '{table}'::regclass::oid);
             head := coalesce((SELECT max(sequence_number) FROM {table}), 0);
             UPDATE \"{schema}\".eddyline_schema AS version SET
                 ended_epochs = version.ended_epochs || version.epoch,
                 ends = ARRAY(SELECT least(former.ended, head)
                     FROM unnest(version.ends) WITH ORDINALITY AS former (ended, place)
                     ORDER BY former.place) || head,
                 epoch = gen_random_uuid(), epoch_server = incarnation
             WHERE version.log = '{name}' AND version.epoch_server <> incarnation;
             is_new := FOUND;
             SELECT version.epoch INTO current
             FROM \"{schema}\".eddyline_schema AS version WHERE version.log = '{name}';
             IF current IS NULL THEN
                 RAISE EXCEPTION 'eddyline_schema has no row for log {log}'
                     USING ERRCODE = '{UNVERSIONED}',
                     HINT = 'Run eddyline::Schema::migrate, which repairs it.';
             END IF;
             PERFORM set_config({setting}, current::text, is_new);
             RETURN current;
         END $$"
    )
}

/// Renders the expression for the log's epoch in a session that appends.
pub(super) fn epoch(log: &LogName) -> String {
    let (found, function) = (found_epoch(log), function(log));
    format!(
        "CASE WHEN {found} OPERATOR(pg_catalog.<>) '' THEN {found}::pg_catalog.uuid
             ELSE {function}() END"
    )
}

/// Renders the expression for the log's epoch in a call of the append procedure. If the caller
/// expects another epoch than the session has found, the session looks again: the log's owner may
/// have changed it.
pub(super) fn epoch_of_call(log: &LogName) -> String {
    let (found, function) = (found_epoch(log), function(log));
    format!(
        "CASE WHEN {found} OPERATOR(pg_catalog.<>) ''
                 AND ({found}::pg_catalog.uuid OPERATOR(pg_catalog.<>) ANY (epochs)) IS NOT TRUE
             THEN {found}::pg_catalog.uuid ELSE {function}() END"
    )
}

fn found_epoch(log: &LogName) -> String {
    format!("pg_catalog.current_setting({}, true)", setting_of_table(SETTING, log))
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

/// Renders the name of a setting that a session has for a log. The name has the table's oid: a
/// session may outlive a log that is dropped and created again.
pub(super) fn setting_of_table(name: &str, log: &LogName) -> String {
    format!(
        "'eddyline.{name}.t' OPERATOR(pg_catalog.||)
             '{}'::pg_catalog.regclass::pg_catalog.oid::pg_catalog.text",
        log.table()
    )
}

/// The setting that holds the log's epoch in a session that has verified it.
const SETTING: &str = "epoch";

/// Returns the quoted, schema-qualified name of the function [`begin_epoch`].
pub(super) fn function(log: &LogName) -> String {
    format!("\"{}\".\"{}_begin_epoch\"", log.schema(), log.log())
}

use super::lock::LOCK_CLASS;
use super::objects::Routine;
use super::versions::{self, RENEW_IDENTITY};
use super::{epoch, procedure};
use crate::log_name::LogName;

/// The version of the schema that this crate works with.
pub(crate) const VERSION: i32 = 4;

/// The settings of a migration's transaction.
pub(crate) const NO_TIMEOUTS: &str = "SET LOCAL statement_timeout = 0;
         SET LOCAL lock_timeout = 0";

/// Renders the first statement of a migration. It takes the lock that serializes migrations, and
/// creates the schema and the table of versions if they are missing.
pub(crate) fn prepare(log: &LogName) -> String {
    let (schema, columns) = (log.schema(), versions::columns());
    // `CREATE ... IF NOT EXISTS` would fail for a role that may not create objects, even if they
    // exist.
    format!(
        "DO $$ BEGIN
             PERFORM pg_advisory_xact_lock({LOCK_CLASS}::bigint << 32);
             IF to_regnamespace('\"{schema}\"') IS NULL THEN
                 CREATE SCHEMA \"{schema}\";
             END IF;
             IF to_regclass('\"{schema}\".eddyline_schema') IS NULL THEN
                 CREATE TABLE \"{schema}\".eddyline_schema (
                     log text PRIMARY KEY,
                     version integer NOT NULL,
                     migrated_at timestamptz NOT NULL DEFAULT now(),
                     {columns}
                 );
             END IF;
         END $$"
    )
}

/// Renders the statement that adds the columns of a log's identity to a table of versions that
/// lacks them. Logs of older versions work with it as before.
///
/// It takes the lock that serializes migrations. It must not run while a log is locked: a session
/// that connects has read this table, and then reads its log.
pub(crate) fn add_identity(log: &LogName) -> String {
    let schema = log.schema();
    let (missing, add) = (versions::are_missing(log), versions::add_columns());
    format!(
        "DO $$ BEGIN
             PERFORM pg_advisory_xact_lock({LOCK_CLASS}::bigint << 32);
             IF {missing} THEN
                 ALTER TABLE \"{schema}\".eddyline_schema {add};
             END IF;
         END $$"
    )
}

/// Renders the statement that records the current version for a log. A new log gets a new identity,
/// also if there was a log of the same name before.
pub(crate) fn set_version(log: &LogName, is_new: bool) -> String {
    let (schema, name) = (log.schema(), log.log());
    let identity = if is_new { RENEW_IDENTITY } else { "" };
    format!(
        "INSERT INTO \"{schema}\".eddyline_schema (log, version) VALUES ('{name}', {VERSION})
         ON CONFLICT (log) DO UPDATE SET version = EXCLUDED.version, migrated_at = now(){identity}"
    )
}

/// Renders the storage parameters that a log of an older version still needs. The version of a new
/// log is `None`.
///
/// Rows are never updated, so vacuum may freeze them at once. Otherwise an anti-wraparound vacuum
/// would later read and rewrite the whole log at a time. The planner's statistics of types and
/// payloads are renewed after a fiftieth of the log has changed. The owner may set other values
/// afterwards.
pub(crate) fn settings(log: &LogName, version: Option<i32>) -> Option<String> {
    let sets_autovacuum = version.is_none_or(|version| version < 2);
    sets_autovacuum.then(|| {
        format!(
            "ALTER TABLE {} SET (autovacuum_freeze_min_age = 0,
                 autovacuum_vacuum_insert_scale_factor = 0.1, autovacuum_analyze_scale_factor = 0.02)",
            log.table()
        )
    })
}

/// Renders the grants of the privileges that a role needs to read and, if `appends`, to append.
/// Creates the role if it is missing. A concurrent creation of the role from another database is
/// not an error.
pub(crate) fn grants(log: &LogName, role: &str, appends: bool) -> String {
    let (schema, table) = (log.schema(), log.table());
    let mut grants = format!(
        "DO $$ BEGIN
             IF to_regrole('\"{role}\"') IS NULL THEN
                 CREATE ROLE \"{role}\" NOLOGIN;
             END IF;
         EXCEPTION WHEN duplicate_object OR unique_violation THEN
             NULL;
         END $$;
         GRANT USAGE ON SCHEMA \"{schema}\" TO \"{role}\";
         GRANT SELECT ON {table}, \"{schema}\".eddyline_schema TO \"{role}\""
    );
    if appends {
        let (sequence, procedure) = (log.sequence(), log.append_procedure());
        let begin_epoch = epoch::function(log);
        grants += &format!(
            ";
             GRANT EXECUTE ON PROCEDURE {procedure} TO \"{role}\";
             GRANT EXECUTE ON FUNCTION {begin_epoch} TO \"{role}\";
             GRANT INSERT (event_id, occurred_at, event_type, payload, metadata) ON {table}
                 TO \"{role}\";
             GRANT SELECT ON SEQUENCE {sequence} TO \"{role}\""
        );
    }
    grants
}

/// Lists the functions and the procedure of a log.
pub(super) fn routines(log: &LogName) -> Vec<Routine> {
    let of_log = |suffix: &str, create| Routine {
        name: format!("{}_{suffix}", log.log()),
        create,
        is_shared: false,
    };
    vec![
        of_log("begin_epoch", epoch::begin_epoch(log)),
        of_log("lock_log", procedure::lock_log(log)),
        of_log("refuse_number", procedure::refuse_number(log)),
        of_log("append", procedure::append(log)),
        refuse_change(log),
    ]
}

/// Describes the trigger function that refuses changes of events. All logs of a schema share it.
fn refuse_change(log: &LogName) -> Routine {
    let create = format!(
        "CREATE OR REPLACE FUNCTION \"{}\".eddyline_refuse_change() RETURNS trigger
         LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$ BEGIN
             IF current_setting('eddyline.allow_changes', true) = 'on'
                 AND pg_has_role((SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE')
             THEN
                 RETURN NULL;
             END IF;
             RAISE EXCEPTION 'log %.% takes no %', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
                 USING ERRCODE = 'object_not_in_prerequisite_state',
                 HINT = 'Its owner may, after SET eddyline.allow_changes = ''on''.';
         END $$",
        log.schema()
    );
    Routine { name: "eddyline_refuse_change".to_owned(), create, is_shared: true }
}

use super::ids_constraint;
use super::lock::LOCK_CLASS;
use super::procedure;
use crate::log::LogName;

/// The version of the schema that this crate works with.
pub(crate) const VERSION: i32 = MIGRATIONS.len() as i32;

/// Each takes a log from the version that is its index to the next one.
const MIGRATIONS: [fn(&LogName) -> String; 3] = [create, index_types, append_in_a_procedure];

/// Renders the query for the versions of the schema's logs.
pub(crate) fn versions(log: &LogName) -> String {
    let schema = log.schema();
    format!("SELECT version FROM \"{schema}\".eddyline_schema WHERE log = $1")
}

/// Renders the preparation of a migration, to run in its transaction: the lock that lets one
/// process migrate at a time, and the table of versions.
pub(crate) fn prepare(log: &LogName) -> String {
    let schema = log.schema();
    // To ask before creating lets a role without the right to create find all done already.
    format!(
        "SET LOCAL statement_timeout = 0;
         SET LOCAL lock_timeout = 0;
         DO $$ BEGIN
             PERFORM pg_advisory_xact_lock({LOCK_CLASS}::bigint << 32);
             IF to_regnamespace('\"{schema}\"') IS NULL THEN
                 CREATE SCHEMA \"{schema}\";
             END IF;
             IF to_regclass('\"{schema}\".eddyline_schema') IS NULL THEN
                 CREATE TABLE \"{schema}\".eddyline_schema (
                     log text PRIMARY KEY,
                     version integer NOT NULL,
                     migrated_at timestamptz NOT NULL DEFAULT now()
                 );
             END IF;
         END $$"
    )
}

/// Renders the way from a version to the newest; `None` where there is none left to go.
pub(crate) fn migration(log: &LogName, from: i32) -> Option<String> {
    let steps = usize::try_from(from).ok().and_then(|from| MIGRATIONS.get(from..))?;
    let steps: Vec<_> = steps.iter().map(|step| step(log)).collect();
    if steps.is_empty() {
        return None;
    }
    let (schema, name) = (log.schema(), log.log());
    Some(format!(
        "{};
         {};
         INSERT INTO \"{schema}\".eddyline_schema (log, version) VALUES ('{name}', {VERSION})
         ON CONFLICT (log) DO UPDATE SET version = EXCLUDED.version, migrated_at = now()",
        steps.join(";\n"),
        code(log)
    ))
}

/// Renders the rights of a role that reads, and of one that appends as well. The role is made
/// where there is none; a race with another database that makes it too is no fault.
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
        grants += &format!(
            ";
             GRANT EXECUTE ON PROCEDURE {procedure} TO \"{role}\";
             GRANT INSERT (event_id, occurred_at, event_type, payload, metadata) ON {table}
                 TO \"{role}\";
             GRANT SELECT ON SEQUENCE {sequence} TO \"{role}\""
        );
    }
    grants
}

/// Version 1.
///
/// That ids are unique is what keeps an append from being stored twice, however late the first try
/// arrives.
///
/// The index on the payload goes without its pending list, which is flushed while the lock is held
/// and makes single appends hundredfold slower.
fn create(log: &LogName) -> String {
    let (name, table, sequence) = (log.log(), log.table(), log.sequence());
    let ids = ids_constraint(log);
    format!(
        "CREATE TABLE {table} (
             sequence_number bigint GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME {sequence}),
             event_id uuid NOT NULL,
             occurred_at timestamptz NOT NULL,
             recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
             event_type text COLLATE \"C\" NOT NULL,
             payload jsonb NOT NULL,
             metadata jsonb NOT NULL DEFAULT '{{}}',
             CONSTRAINT \"{name}_pkey\" PRIMARY KEY (sequence_number),
             CONSTRAINT \"{ids}\" UNIQUE (event_id),
             CONSTRAINT \"{name}_event_type_check\"
                 CHECK (octet_length(event_type) BETWEEN 1 AND 255),
             CONSTRAINT \"{name}_occurred_at_check\" CHECK (isfinite(occurred_at)
                 AND occurred_at <= '9999-12-30 22:00:00+00'),
             CONSTRAINT \"{name}_recorded_at_check\" CHECK (isfinite(recorded_at)
                 AND recorded_at <= '9999-12-30 22:00:00+00'),
             CONSTRAINT \"{name}_payload_check\" CHECK (jsonb_typeof(payload) = 'object'),
             CONSTRAINT \"{name}_metadata_check\" CHECK (jsonb_typeof(metadata) = 'object')
         );
         CREATE INDEX \"{name}_payload_idx\" ON {table}
             USING gin (payload jsonb_path_ops) WITH (fastupdate = off);
         CREATE INDEX \"{name}_event_type_idx\" ON {table} (event_type);
         CREATE INDEX \"{name}_occurred_at_idx\" ON {table}
             USING brin (occurred_at) WITH (autosummarize = on)"
    )
}

/// Version 2.
///
/// The index on the type has the log's order too: the newest of a type, and those after a position,
/// are found however rare the type is.
///
/// Nothing is ever changed, so that what vacuum finds it may freeze at once; else the whole log
/// would be read and written again, all at a time, when its transactions grow old. What the planner
/// knows of types and payloads is not to be older than a fiftieth of the log.
fn index_types(log: &LogName) -> String {
    let (schema, name, table) = (log.schema(), log.log(), log.table());
    format!(
        "DROP INDEX \"{schema}\".\"{name}_event_type_idx\";
         CREATE INDEX \"{name}_event_type_idx\" ON {table} (event_type, sequence_number);
         ALTER TABLE {table} SET (autovacuum_freeze_min_age = 0,
             autovacuum_vacuum_insert_scale_factor = 0.1, autovacuum_analyze_scale_factor = 0.02)"
    )
}

/// Version 3.
///
/// The procedure has the name of the function that versions 1 and 2 appended with.
fn append_in_a_procedure(log: &LogName) -> String {
    format!("DROP ROUTINE IF EXISTS {}", log.append_procedure())
}

/// Renders the functions, the procedure and the triggers of a log. They are replaced wherever they
/// are other than this.
fn code(log: &LogName) -> String {
    let (schema, name, table) = (log.schema(), log.log(), log.table());
    let parts = [
        procedure::lock_log(log),
        procedure::refuse_number(log),
        procedure::append(log),
        format!(
            "CREATE OR REPLACE FUNCTION \"{schema}\".eddyline_refuse_change() RETURNS trigger
             LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$ BEGIN
                 IF current_setting('eddyline.allow_changes', true) = 'on'
                     AND pg_has_role((SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE')
                 THEN
                     RETURN NULL;
                 END IF;
                 RAISE EXCEPTION 'log %.% takes no %', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
                     USING ERRCODE = 'object_not_in_prerequisite_state',
                     HINT = 'Its owner may, after SET eddyline.allow_changes = ''on''.';
             END $$"
        ),
        format!(
            "CREATE OR REPLACE TRIGGER \"{name}_lock_log\" BEFORE INSERT ON {table}
                 FOR EACH STATEMENT EXECUTE FUNCTION \"{schema}\".\"{name}_lock_log\"()"
        ),
        format!(
            "CREATE OR REPLACE TRIGGER \"{name}_refuse_number\" BEFORE INSERT ON {table}
                 FOR EACH ROW WHEN ({})
                 EXECUTE FUNCTION \"{schema}\".\"{name}_refuse_number\"()",
            procedure::is_refused(log)
        ),
        format!(
            "CREATE OR REPLACE TRIGGER \"{name}_refuse_change\"
                 BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
                 FOR EACH STATEMENT EXECUTE FUNCTION \"{schema}\".eddyline_refuse_change()"
        ),
    ];
    parts.join(";\n")
}

use postgres_types::Type;
use tokio_postgres::Row;

use super::objects::{ObjectKind, objects};
use super::table::{SEQUENCE, column_names};
use super::versions;
use crate::log_name::LogName;
use crate::{Role, SequenceNumber};

/// A query of the system catalogs for the objects of a log. It reads only the catalogs, so that it
/// succeeds whatever objects are missing and whatever privileges the role has.
pub(crate) struct Inspection {
    schema: String,
    log: String,
    routines: Vec<String>,
    columns: Vec<&'static str>,
    appended_columns: Vec<&'static str>,
    sequence: String,
    /// The routines that an append calls.
    append_routines: Vec<String>,
    identity_columns: Vec<&'static str>,
}

impl Inspection {
    pub(crate) fn new(log: &LogName) -> Self {
        let routines = objects(log).into_iter().filter(|object| object.kind == ObjectKind::Routine);
        let (columns, appended_columns) = column_names();
        Self {
            schema: log.schema().to_owned(),
            log: log.log().to_owned(),
            routines: routines.map(|routine| routine.name).collect(),
            columns,
            appended_columns,
            sequence: format!("{}{SEQUENCE}", log.log()),
            append_routines: vec![
                format!("{}_append", log.log()),
                format!("{}_begin_epoch", log.log()),
            ],
            identity_columns: versions::column_names(),
        }
    }

    /// Returns the parameters of [`INSPECTION`] with their types.
    pub(crate) fn params(&self) -> [(&(dyn postgres_types::ToSql + Sync), Type); 8] {
        [
            (&self.schema, Type::TEXT),
            (&self.log, Type::TEXT),
            (&self.routines, Type::TEXT_ARRAY),
            (&self.columns, Type::TEXT_ARRAY),
            (&self.appended_columns, Type::TEXT_ARRAY),
            (&self.sequence, Type::TEXT),
            (&self.append_routines, Type::TEXT_ARRAY),
            (&self.identity_columns, Type::TEXT_ARRAY),
        ]
    }
}

/// The text of an [`Inspection`]. [`InspectionRow`] decodes its rows, one for each object.
///
/// The definition of an index is compared without its storage options, which an owner may tune. No
/// literal has a backslash, since its meaning depends on a setting. The way in which the server
/// prints expressions depends on settings as well: reading the table's own row sets them until the
/// end of the transaction.
///
/// A function with the rights of its owner fails if the log got another owner.
///
/// Privileges have a row only if they are missing. The privileges of columns are checked one by
/// one: a role that may read a table may read each column, and a role that may read each column
/// need not have the privilege on the table.
pub(crate) const INSPECTION: &str = "
WITH log AS MATERIALIZED (
    SELECT class.oid, class.relkind, class.relpersistence, space.oid AS schema,
        pg_catalog.set_config('search_path', 'pg_catalog', true),
        pg_catalog.set_config('datestyle', 'ISO', true),
        pg_catalog.set_config('timezone', 'UTC', true),
        pg_catalog.set_config('quote_all_identifiers', 'off', true)
    FROM pg_catalog.pg_class AS class
    JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
    WHERE space.nspname = $1 AND class.relname = $2
), versions AS MATERIALIZED (
    SELECT class.oid FROM pg_catalog.pg_class AS class
    JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
    WHERE space.nspname = $1 AND class.relname = 'eddyline_schema'
), columns AS MATERIALIZED (
    SELECT log.oid AS log, attribute.*
    FROM log JOIN pg_catalog.pg_attribute AS attribute ON attribute.attrelid = log.oid
    WHERE attribute.attnum > 0 AND NOT attribute.attisdropped
), numbers AS MATERIALIZED (
    SELECT class.oid, class.relname, columns.attname, columns.attidentity
    FROM columns
    JOIN pg_catalog.pg_depend AS depend ON depend.refobjid = columns.log
        AND depend.refobjsubid = columns.attnum AND depend.deptype = 'i'
        AND depend.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
        AND depend.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
    JOIN pg_catalog.pg_class AS class ON class.oid = depend.objid AND class.relkind = 'S'
), routines AS MATERIALIZED (
    SELECT routine.oid, routine.proname, routine.prosrc
        || CASE WHEN routine.prosecdef THEN ' SECURITY DEFINER' ELSE '' END
        || coalesce(' SET ' || pg_catalog.array_to_string(routine.proconfig, ' SET '), '')
        || CASE WHEN routine.prosecdef AND NOT (
                pg_catalog.has_schema_privilege(routine.proowner, space.oid, 'USAGE')
                AND coalesce(pg_catalog.has_table_privilege(routine.proowner,
                    (SELECT oid FROM log), 'SELECT'), true)
                AND coalesce(pg_catalog.has_table_privilege(routine.proowner,
                    (SELECT oid FROM versions), 'SELECT'), true)
                AND coalesce(pg_catalog.has_table_privilege(routine.proowner,
                    (SELECT oid FROM versions), 'UPDATE'), true))
            THEN ' of an unsuitable owner' ELSE '' END AS state
    FROM pg_catalog.pg_proc AS routine
    JOIN pg_catalog.pg_namespace AS space ON space.oid = routine.pronamespace
    WHERE space.nspname = $1 AND routine.proname = ANY ($3)
)
SELECT 'table' AS kind, $2 AS name, CASE
    WHEN relkind = 'r' AND relpersistence = 'p' THEN 'a table'
    WHEN relkind = 'r' AND relpersistence = 'u' THEN 'an unlogged table'
    WHEN relkind = 'v' THEN 'a view' ELSE 'another kind of relation' END AS state
FROM log
UNION ALL
SELECT 'column', attname::text, pg_catalog.format_type(atttypid, atttypmod) FROM columns
UNION ALL
SELECT 'nullability of column', attname::text, CASE WHEN attnotnull THEN 'NOT NULL' ELSE 'NULL' END
FROM columns
UNION ALL
SELECT 'collation of column', attname::text, collname::text
FROM columns JOIN pg_catalog.pg_collation AS rules ON rules.oid = attcollation
UNION ALL
SELECT 'default of column', attname::text, 'set' FROM columns
WHERE atthasdef AND attidentity = '' AND attgenerated = ''
UNION ALL
SELECT 'constraint', conname::text,
    CASE contype WHEN 'p' THEN 'PRIMARY KEY (' WHEN 'u' THEN 'UNIQUE (' ELSE 'CHECK ' END
    || coalesce(CASE WHEN contype = 'c' THEN pg_catalog.pg_get_expr(conbin, conrelid)
        ELSE (SELECT pg_catalog.string_agg(columns.attname::text, ', ' ORDER BY place)
            FROM pg_catalog.unnest(conkey) WITH ORDINALITY AS key (number, place)
            JOIN columns ON columns.attnum = key.number) || ')' END, '')
    || CASE WHEN convalidated THEN '' ELSE ' NOT VALID' END
    || CASE WHEN condeferrable THEN ' DEFERRABLE' ELSE '' END
FROM log JOIN pg_catalog.pg_constraint ON conrelid = log.oid WHERE contype IN ('c', 'p', 'u')
UNION ALL
SELECT 'index', class.relname::text,
    CASE WHEN indisvalid AND indisready THEN '' ELSE 'invalid ' END
    || CASE WHEN indisunique THEN 'unique ' ELSE '' END
    || coalesce((SELECT part[1] || coalesce(part[3], '') FROM pg_catalog.regexp_match(
        pg_catalog.pg_get_indexdef(indexrelid),
        '^.*? USING (.*?)( WITH [(].*?[)])?( WHERE .*)?$') AS part), '')
FROM log JOIN pg_catalog.pg_index ON indrelid = log.oid
JOIN pg_catalog.pg_class AS class ON class.oid = indexrelid
UNION ALL
SELECT 'routine', proname::text, state FROM routines
UNION ALL
SELECT 'identity of column', attname::text,
    CASE attidentity WHEN 'a' THEN 'ALWAYS by ' ELSE 'BY DEFAULT by ' END || relname::text
FROM numbers
UNION ALL
SELECT 'sequence', relname::text, pg_catalog.format_type(seqtypid, NULL)
    || ' INCREMENT ' || seqincrement || ' CACHE ' || seqcache
    || CASE WHEN seqcycle THEN ' CYCLE' ELSE ' NO CYCLE' END
FROM numbers JOIN pg_catalog.pg_sequence ON seqrelid = numbers.oid
UNION ALL
SELECT 'trigger', tgname::text,
    CASE WHEN tgenabled IN ('A', 'O') THEN 'enabled' WHEN tgenabled = 'R' THEN 'enabled on replicas only'
        ELSE 'disabled' END
    || CASE WHEN tgtype::int & 2 = 2 THEN ' BEFORE ' ELSE ' not before ' END
    || pg_catalog.concat_ws(' OR ', CASE WHEN tgtype::int & 4 = 4 THEN 'INSERT' END,
        CASE WHEN tgtype::int & 16 = 16 THEN 'UPDATE' END,
        CASE WHEN tgtype::int & 8 = 8 THEN 'DELETE' END,
        CASE WHEN tgtype::int & 32 = 32 THEN 'TRUNCATE' END)
    || CASE WHEN tgattr::text = '' THEN '' ELSE ' OF COLUMNS' END
    || CASE WHEN tgtype::int & 1 = 1 THEN ' ROW ' ELSE ' STATEMENT ' END
    || CASE WHEN routine.pronamespace = log.schema THEN '' ELSE 'elsewhere ' END || routine.proname::text
    || coalesce(' WHEN ' || (SELECT coalesce(pg_catalog.replace(part[1],
            pg_catalog.quote_literal(numbers.oid::pg_catalog.regclass::text) || '::regclass',
            'its sequence'), part[1])
        FROM pg_catalog.regexp_match(pg_catalog.pg_get_triggerdef(trigger.oid),
            ' WHEN [(](.*)[)] EXECUTE ') AS part
        LEFT JOIN numbers ON numbers.attname = 'sequence_number'), '')
FROM log JOIN pg_catalog.pg_trigger AS trigger ON trigger.tgrelid = log.oid AND NOT tgisinternal
JOIN pg_catalog.pg_proc AS routine ON routine.oid = trigger.tgfoid
UNION ALL
SELECT 'table of versions', 'eddyline_schema', '' FROM versions
UNION ALL
SELECT 'column of table eddyline_schema', attname::text,
    pg_catalog.format_type(atttypid, atttypmod)
    || CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END
    || CASE WHEN atthasdef THEN ' with a default' ELSE ' without a default' END
FROM versions JOIN pg_catalog.pg_attribute ON attrelid = versions.oid
WHERE attname = ANY ($8) AND NOT attisdropped
UNION ALL
SELECT 'row security', $2, current_user::text FROM log
WHERE relkind IN ('p', 'r') AND pg_catalog.row_security_active(log.oid)
UNION ALL
SELECT 'missing right to ' || purpose, privilege || ' on ' || object, current_user::text
FROM (
    SELECT 'read' AS purpose, 'USAGE' AS privilege, 'schema ' || $1 AS object,
        pg_catalog.has_schema_privilege(log.schema, 'USAGE') AS granted FROM log
    UNION ALL
    SELECT 'read', 'SELECT', 'table ' || $1 || '.' || $2,
        pg_catalog.bool_and(pg_catalog.has_column_privilege(log, attnum, 'SELECT'))
    FROM columns WHERE attname = ANY ($4)
    UNION ALL
    SELECT 'read', 'SELECT', 'table ' || $1 || '.eddyline_schema',
        pg_catalog.has_table_privilege(versions.oid, 'SELECT') FROM versions
    UNION ALL
    SELECT 'append', 'INSERT', 'table ' || $1 || '.' || $2,
        pg_catalog.bool_and(pg_catalog.has_column_privilege(log, attnum, 'INSERT'))
    FROM columns WHERE attname = ANY ($5)
    UNION ALL
    SELECT 'append', 'SELECT', 'sequence ' || $1 || '.' || $6,
        pg_catalog.has_sequence_privilege(numbers.oid, 'SELECT')
    FROM numbers
    UNION ALL
    SELECT 'append', 'EXECUTE', 'routine ' || $1 || '.' || proname,
        pg_catalog.has_function_privilege(routines.oid, 'EXECUTE')
    FROM routines WHERE proname = ANY ($7)
) AS rights
WHERE NOT granted";

/// The end of the state of a routine that has the rights of its owner, if the owner lacks rights on
/// the log.
pub(crate) const OF_UNSUITABLE_OWNER: &str = " of an unsuitable owner";

/// A row of the answer to an [`Inspection`].
#[derive(Debug)]
pub(crate) enum InspectionRow {
    /// An object of the log.
    Object { kind: ObjectKind, name: String, state: String },
    /// Row-level security may hide events from the role.
    RowSecurity { role: String },
    /// A privilege that the role lacks.
    MissingRight {
        right: String,
        role: String,
        /// Whether only appends need it.
        to_append: bool,
    },
    /// The table of versions.
    Versions,
}

impl InspectionRow {
    pub(crate) fn decode(row: &Row) -> Result<Self, tokio_postgres::Error> {
        let (kind, name, state): (&str, String, String) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let object = ObjectKind::ALL.into_iter().find(|one| one.as_str() == kind);
        Ok(match (object, kind) {
            (Some(kind), _) => Self::Object { kind, name, state },
            (None, "row security") => Self::RowSecurity { role: state },
            (None, "table of versions") => Self::Versions,
            (None, kind) => {
                let to_append = kind.ends_with("append");
                Self::MissingRight { right: name, role: state, to_append }
            }
        })
    }
}

/// The version of a log and the state of its sequence.
#[derive(Debug, Default)]
pub(crate) struct LogStatus {
    /// The log's version. `None` if the table of versions has no row for the log.
    pub(crate) version: Option<i32>,
    /// The highest version of all logs in the schema.
    pub(crate) newest_version: Option<i32>,
    /// `None` on a replica.
    pub(crate) sequence: Option<SequenceState>,
}

/// The state of a log's sequence, with the log's head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SequenceState {
    pub(crate) head: SequenceNumber,
    /// The last number that the sequence gave. If it gave none, the number that it gives next.
    last: i64,
    is_called: bool,
    max: i64,
}

impl SequenceState {
    /// Returns the number that the sequence gives next. Returns `None` if the sequence has reached
    /// its maximum.
    pub(crate) fn next(&self) -> Option<SequenceNumber> {
        let next = if self.is_called { self.last.checked_add(1)? } else { self.last };
        (next <= self.max).then(|| SequenceNumber::from_bigint(next))
    }
}

/// Renders the query for the [`LogStatus`]. Its parameter is the log's name as text.
///
/// Reading a sequence ignores the snapshot and returns its current state. So the sequence is never
/// seen behind the events of the snapshot, unless it is really behind them.
pub(crate) fn log_status(log: &LogName, role: Role) -> String {
    let (schema, table, sequence) = (log.schema(), log.table(), log.sequence());
    let versions = format!(
        "SELECT (SELECT version FROM \"{schema}\".eddyline_schema WHERE log = $1),
             (SELECT max(version) FROM \"{schema}\".eddyline_schema)"
    );
    match role {
        Role::Replica => versions,
        Role::Primary => format!(
            "{versions}, coalesce((SELECT max(sequence_number) FROM {table}), 0),
                 sequence.last_value, sequence.is_called, seqmax
             FROM {sequence} AS sequence
             JOIN pg_catalog.pg_sequence ON seqrelid = '{sequence}'::pg_catalog.regclass"
        ),
    }
}

impl LogStatus {
    pub(crate) fn decode(row: &Row) -> Result<Self, tokio_postgres::Error> {
        let sequence = match row.len() {
            2 => None,
            _ => Some(SequenceState {
                head: SequenceNumber::from_bigint(row.try_get(2)?),
                last: row.try_get(3)?,
                is_called: row.try_get(4)?,
                max: row.try_get(5)?,
            }),
        };
        Ok(Self { version: row.try_get(0)?, newest_version: row.try_get(1)?, sequence })
    }
}

/// Renders the statement that sets a log's sequence to the head.
pub(crate) fn set_sequence(log: &LogName, head: SequenceNumber) -> String {
    format!("SELECT setval('{}', {})", log.sequence(), head.value())
}

/// Renders the statement that removes the maximum of a log's sequence.
pub(crate) fn widen_sequence(log: &LogName) -> String {
    format!("ALTER SEQUENCE {} NO MAXVALUE", log.sequence())
}

/// Renders the statement that locks the table against inserts and reads while the log is repaired.
///
/// The lock is taken in its strongest mode at once. A weaker lock that is upgraded later could
/// deadlock with an append that waits for the weaker one. The log's advisory lock is not needed in
/// addition: its holder inserts nothing before it has a lock on the table.
pub(crate) fn lock_table(log: &LogName) -> String {
    format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", log.table())
}

/// Renders the statements that rename the objects of a log whose table was renamed. Returns `None`
/// if the table was not renamed.
pub(crate) fn rename(log: &LogName, found: &[InspectionRow]) -> Option<String> {
    let names = || {
        found.iter().filter_map(|found| match found {
            InspectionRow::Object { kind, name, state } => {
                Some((*kind, name.as_str(), state.as_str()))
            }
            _ => None,
        })
    };
    let has = |kind, name: &str| names().any(|(one, other, _)| one == kind && other == name);
    let (_, sequence, _) = names().find(|(kind, ..)| *kind == ObjectKind::Sequence)?;
    let old = sequence.strip_suffix(SEQUENCE).filter(|old| *old != log.log())?;
    let (schema, table) = (log.schema(), log.table());
    // The row of the new name, if there is one, is that of another log.
    let mut statements = vec![format!(
        "DELETE FROM \"{schema}\".eddyline_schema WHERE log = '{name}'
             AND EXISTS (SELECT FROM \"{schema}\".eddyline_schema WHERE log = {old});
         UPDATE \"{schema}\".eddyline_schema SET log = '{name}' WHERE log = {old}",
        name = log.log(),
        old = literal(old)
    )];
    for object in objects(log) {
        let Some(suffix) = object.name.strip_prefix(log.log()) else { continue };
        let (from, to) = (format!("{old}{suffix}"), &object.name);
        if !has(object.kind, &from) || has(object.kind, to) {
            continue;
        }
        let from = quoted(&from);
        statements.extend(match object.kind {
            ObjectKind::Constraint => {
                Some(format!("ALTER TABLE {table} RENAME CONSTRAINT {from} TO \"{to}\""))
            }
            ObjectKind::Index => {
                Some(format!("ALTER INDEX \"{schema}\".{from} RENAME TO \"{to}\""))
            }
            ObjectKind::Sequence => {
                Some(format!("ALTER SEQUENCE \"{schema}\".{from} RENAME TO \"{to}\""))
            }
            ObjectKind::Trigger => Some(format!("DROP TRIGGER {from} ON {table}")),
            _ => None,
        });
    }
    Some(statements.join(";\n"))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Quotes an identifier that comes from the server.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

use crate::log_name::LogName;
use crate::sql::{self, ObjectKind};

/// Renders the SQL text that creates a log, in one transaction.
pub(super) fn script(log: &LogName, grants: &[String]) -> String {
    let objects = sql::objects(log).into_iter().filter(|object| !is_part_of_table(object.kind));
    let statements = [
        "BEGIN ISOLATION LEVEL READ COMMITTED".to_owned(),
        // The names in the definitions must not resolve to objects of the schema `public`.
        "SET LOCAL search_path = pg_catalog".to_owned(),
        sql::NO_TIMEOUTS.to_owned(),
        sql::prepare(log),
        sql::add_identity(log),
        refuse_existing(log),
        sql::create_table(log),
    ];
    let statements = statements
        .into_iter()
        .chain(sql::settings(log, None))
        .chain(objects.filter_map(|object| object.repair))
        .chain([sql::set_version(log, true)])
        .chain(grants.iter().cloned())
        .chain(["COMMIT".to_owned()]);
    let header = format!(
        "-- Creates the log {log} of version {} of eddyline's schema, in one transaction.\n",
        sql::VERSION
    );
    statements.fold(header, |text, statement| text + "\n" + &statement + ";\n")
}

/// Renders the check that the log does not exist, and that no other log of the schema has a newer
/// version, which would share the newer objects.
fn refuse_existing(log: &LogName) -> String {
    let (schema, table) = (log.schema(), log.table());
    let version = sql::VERSION;
    format!(
        "DO $$ BEGIN
             IF to_regclass('{table}') IS NOT NULL THEN
                 RAISE EXCEPTION 'log {log} exists already'
                     USING ERRCODE = 'duplicate_table',
                     HINT = 'This script only creates a log. eddyline::Schema::migrate upgrades and repairs it.';
             END IF;
             IF (SELECT max(version) FROM \"{schema}\".eddyline_schema) > {version} THEN
                 RAISE EXCEPTION 'schema {schema} has a log of a newer version than {version}'
                     USING ERRCODE = 'object_not_in_prerequisite_state',
                     HINT = 'Use the script of the newer eddyline.';
             END IF;
         END $$"
    )
}

/// Returns whether a `CREATE TABLE` creates an object.
fn is_part_of_table(kind: ObjectKind) -> bool {
    match kind {
        ObjectKind::Table
        | ObjectKind::Column
        | ObjectKind::Collation
        | ObjectKind::NotNull
        | ObjectKind::Default
        | ObjectKind::Constraint
        | ObjectKind::Identity
        | ObjectKind::IdentityColumn
        | ObjectKind::Sequence => true,
        ObjectKind::Index | ObjectKind::Routine | ObjectKind::Trigger => false,
    }
}

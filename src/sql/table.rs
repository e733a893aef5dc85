use super::ids_constraint;
use super::objects::{ObjectKind, SchemaObject};
use super::triggers::triggers;
use crate::log_name::LogName;

/// Describes the table itself. It must not be unlogged: a crash empties an unlogged table.
pub(super) fn table(log: &LogName) -> SchemaObject {
    SchemaObject {
        kind: ObjectKind::Table,
        name: log.log().to_owned(),
        state: "a table".to_owned(),
        repair: Some(format!("ALTER TABLE {} SET LOGGED", log.table())),
        remove: None,
        is_shared: false,
    }
}

/// Lists the columns, constraints and indexes of a log's table.
pub(super) fn parts(log: &LogName) -> Vec<SchemaObject> {
    let mut parts: Vec<_> = COLUMNS.iter().flat_map(|column| column.objects(log)).collect();
    parts.extend(constraints(log).into_iter().map(|constraint| constraint.object(log)));
    parts.extend(INDEXES.iter().map(|index| index.object(log)));
    parts
}

/// Lists the objects that number the events (Lemma 1).
pub(super) fn numbering(log: &LogName) -> [SchemaObject; 2] {
    [identity(log), sequence(log)]
}

/// Renders the statement that creates a log's table with its columns, constraints and sequence.
pub(crate) fn create_table(log: &LogName) -> String {
    let parts: Vec<_> = COLUMNS
        .iter()
        .map(|column| column.definition(log))
        .chain(constraints(log).iter().map(Constraint::definition))
        .collect();
    format!("CREATE TABLE {} (\n{}\n)", log.table(), parts.join(",\n"))
}

/// Returns the names of all columns, and of the columns that an append sets.
pub(crate) fn column_names() -> (Vec<&'static str>, Vec<&'static str>) {
    let appended = |column: &&Column| !matches!(column.name, "sequence_number" | "recorded_at");
    let names = |columns: Vec<&Column>| columns.iter().map(|column| column.name).collect();
    (names(COLUMNS.iter().collect()), names(COLUMNS.iter().filter(appended).collect()))
}

struct Column {
    name: &'static str,
    /// The name of the type in the catalogs.
    type_name: &'static str,
    default: Option<&'static str>,
}

/// The columns. Each is `NOT NULL`. The event type has the collation "C", as does its index.
const COLUMNS: [Column; 7] = [
    Column { name: "sequence_number", type_name: "bigint", default: None },
    Column { name: "event_id", type_name: "uuid", default: None },
    Column { name: "occurred_at", type_name: "timestamp with time zone", default: None },
    Column {
        name: "recorded_at",
        type_name: "timestamp with time zone",
        default: Some("clock_timestamp()"),
    },
    Column { name: "event_type", type_name: "text", default: None },
    Column { name: "payload", type_name: "jsonb", default: None },
    Column { name: "metadata", type_name: "jsonb", default: Some("'{}'") },
];

impl Column {
    fn definition(&self, log: &LogName) -> String {
        let Self { name, type_name, default } = self;
        let mut definition = format!("{name} {type_name}");
        if *type_name == "text" {
            definition += " COLLATE \"C\"";
        }
        if *name == "sequence_number" {
            definition += &format!(" {}", generated(log));
        }
        if let Some(default) = default {
            definition += &format!(" DEFAULT {default}");
        }
        definition + " NOT NULL"
    }

    fn objects(&self, log: &LogName) -> Vec<SchemaObject> {
        let (name, table) = (self.name, log.table());
        let object = |kind, state: &str, repair: Option<String>| SchemaObject {
            kind,
            name: name.to_owned(),
            state: state.to_owned(),
            repair: repair
                .map(|repair| format!("ALTER TABLE {table} ALTER COLUMN {name} {repair}")),
            remove: None,
            is_shared: false,
        };
        let mut objects = vec![
            object(ObjectKind::Column, self.type_name, None),
            object(ObjectKind::NotNull, "NOT NULL", Some("SET NOT NULL".to_owned())),
        ];
        if self.type_name == "text" {
            let repair = "TYPE text COLLATE \"C\"".to_owned();
            objects.push(object(ObjectKind::Collation, "C", Some(repair)));
        }
        if let Some(default) = self.default {
            let repair = format!("SET DEFAULT {default}");
            objects.push(object(ObjectKind::Default, "set", Some(repair)));
        }
        objects
    }
}

fn generated(log: &LogName) -> String {
    format!("GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME {})", log.sequence())
}

/// Returns the name of a table's sequence.
fn sequence_suffix(table: &str) -> String {
    format!("{table}{SEQUENCE}")
}

/// The suffix of the sequence's name after the name of the log.
pub(crate) const SEQUENCE: &str = "_sequence";

struct Constraint {
    name: String,
    kind: &'static str,
    column: &'static str,
    /// The condition of a `CHECK` constraint, as the server prints it.
    condition: Option<&'static str>,
}

fn constraints(log: &LogName) -> Vec<Constraint> {
    let name = log.log();
    let key = |name, kind, column| Constraint { name, kind, column, condition: None };
    let check = |column, condition| Constraint {
        name: format!("{name}_{column}_check"),
        kind: "CHECK",
        column,
        condition: Some(condition),
    };
    vec![
        key(format!("{name}_pkey"), "PRIMARY KEY", "sequence_number"),
        key(ids_constraint(log), "UNIQUE", "event_id"),
        check(
            "event_type",
            "((octet_length(event_type) >= 1) AND (octet_length(event_type) <= 255))",
        ),
        check(
            "occurred_at",
            "(isfinite(occurred_at) AND \
             (occurred_at <= '9999-12-30 22:00:00+00'::timestamp with time zone))",
        ),
        check(
            "recorded_at",
            "(isfinite(recorded_at) AND \
             (recorded_at <= '9999-12-30 22:00:00+00'::timestamp with time zone))",
        ),
        check("payload", "(jsonb_typeof(payload) = 'object'::text)"),
        check("metadata", "(jsonb_typeof(metadata) = 'object'::text)"),
    ]
}

impl Constraint {
    fn definition(&self) -> String {
        format!("CONSTRAINT \"{}\" {}", self.name, self.state())
    }

    /// Renders the definition without the name, as an inspection shows it.
    fn state(&self) -> String {
        match self.condition {
            Some(condition) => format!("{} {condition}", self.kind),
            None => format!("{} ({})", self.kind, self.column),
        }
    }

    fn object(self, log: &LogName) -> SchemaObject {
        let (table, definition, state) = (log.table(), self.definition(), self.state());
        let Self { name, .. } = self;
        SchemaObject {
            kind: ObjectKind::Constraint,
            state,
            repair: Some(format!("ALTER TABLE {table} ADD {definition}")),
            remove: Some(format!("ALTER TABLE {table} DROP CONSTRAINT \"{name}\"")),
            name,
            is_shared: false,
        }
    }
}

struct Index {
    suffix: &'static str,
    /// The method and the indexed columns, as the server prints them.
    definition: &'static str,
    options: &'static str,
}

/// The indexes, besides those of the constraints.
///
/// The GIN index on the payload has no pending list (`fastupdate = off`): the list would be flushed
/// while an append holds the log's lock, which makes single appends a hundred times slower. The
/// index on the type also has the position, so that it finds the newest event of a type, or those
/// after a position, however rare the type is.
const INDEXES: [Index; 3] = [
    Index {
        suffix: "payload_idx",
        definition: "gin (payload jsonb_path_ops)",
        options: "WITH (fastupdate = off)",
    },
    Index {
        suffix: "event_type_idx",
        definition: "btree (event_type, sequence_number)",
        options: "",
    },
    Index {
        suffix: "occurred_at_idx",
        definition: "brin (occurred_at)",
        options: "WITH (autosummarize = on)",
    },
];

impl Index {
    fn object(&self, log: &LogName) -> SchemaObject {
        let (schema, table) = (log.schema(), log.table());
        let name = format!("{}_{}", log.log(), self.suffix);
        let Self { definition, options, .. } = self;
        SchemaObject {
            kind: ObjectKind::Index,
            state: (*definition).to_owned(),
            repair: Some(format!(
                "CREATE INDEX \"{name}\" ON {table} USING {definition} {options}"
            )),
            remove: Some(format!("DROP INDEX \"{schema}\".\"{name}\"")),
            name,
            is_shared: false,
        }
    }
}

/// Describes the identity of the column, which makes the sequence the only source of numbers.
///
/// The trigger that compares a row's number with the sequence depends on the sequence, so the
/// repair drops the trigger and creates it again.
fn identity(log: &LogName) -> SchemaObject {
    let (table, sequence) = (log.table(), log.sequence());
    let triggers = triggers(log);
    let dependent = triggers.iter().filter(|trigger| trigger.when.is_some());
    let (drops, creates): (Vec<_>, Vec<_>) = dependent
        .map(|trigger| {
            let drop = format!("DROP TRIGGER IF EXISTS \"{}\" ON {table};", trigger.name);
            (drop, format!("; {}", trigger.create(log)))
        })
        .unzip();
    let (drops, creates) = (drops.concat(), creates.concat());
    SchemaObject {
        kind: ObjectKind::Identity,
        name: "sequence_number".to_owned(),
        state: format!("ALWAYS by {}", sequence_suffix(log.log())),
        repair: Some(format!(
            "{drops}
             ALTER TABLE {table} ALTER COLUMN sequence_number DROP IDENTITY IF EXISTS;
             ALTER TABLE {table} ALTER COLUMN sequence_number DROP DEFAULT;
             DROP SEQUENCE IF EXISTS {sequence};
             ALTER TABLE {table} ALTER COLUMN sequence_number ADD {}{creates}",
            generated(log)
        )),
        remove: None,
        is_shared: false,
    }
}

fn sequence(log: &LogName) -> SchemaObject {
    SchemaObject {
        kind: ObjectKind::Sequence,
        name: sequence_suffix(log.log()),
        state: "bigint INCREMENT 1 CACHE 1 NO CYCLE".to_owned(),
        repair: Some(format!(
            "ALTER SEQUENCE {} AS bigint INCREMENT 1 NO MINVALUE NO MAXVALUE CACHE 1 NO CYCLE",
            log.sequence()
        )),
        remove: None,
        is_shared: false,
    }
}

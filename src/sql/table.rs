use super::ids_constraint;
use super::objects::{Kind, Object};
use super::triggers::triggers;
use crate::log_name::LogName;

/// Describes the table itself. What is in an unlogged one is lost in a crash.
pub(super) fn table(log: &LogName) -> Object {
    Object {
        kind: Kind::Table,
        name: log.log().to_owned(),
        state: "a table".to_owned(),
        repair: Some(format!("ALTER TABLE {} SET LOGGED", log.table())),
        remove: None,
        is_shared: false,
    }
}

/// Lists the columns, constraints and indexes of a log's table.
pub(super) fn parts(log: &LogName) -> Vec<Object> {
    let mut parts: Vec<_> = COLUMNS.iter().flat_map(|column| column.objects(log)).collect();
    parts.extend(constraints(log).into_iter().map(|constraint| constraint.object(log)));
    parts.extend(INDEXES.iter().map(|index| index.object(log)));
    parts
}

/// Lists what numbers the events.
pub(super) fn numbering(log: &LogName) -> [Object; 2] {
    [identity(log), sequence(log)]
}

/// Renders the creation of a log's table, with all that is created together with it: its columns, its
/// constraints and its sequence.
pub(crate) fn create_table(log: &LogName) -> String {
    let parts: Vec<_> = COLUMNS
        .iter()
        .map(|column| column.definition(log))
        .chain(constraints(log).iter().map(Constraint::definition))
        .collect();
    format!("CREATE TABLE {} (\n{}\n)", log.table(), parts.join(",\n"))
}

/// Names the columns of a log, and those of them that an append gives values to.
pub(crate) fn column_names() -> (Vec<&'static str>, Vec<&'static str>) {
    let given = |column: &&Column| !matches!(column.name, "sequence_number" | "recorded_at");
    let names = |columns: Vec<&Column>| columns.iter().map(|column| column.name).collect();
    (names(COLUMNS.iter().collect()), names(COLUMNS.iter().filter(given).collect()))
}

struct Column {
    name: &'static str,
    /// The type, by the name that the catalogs give it.
    type_name: &'static str,
    default: Option<&'static str>,
}

/// Every column is `NOT NULL`. The collation of the event type is that of its index.
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

    fn objects(&self, log: &LogName) -> Vec<Object> {
        let (name, table) = (self.name, log.table());
        let object = |kind, state: &str, repair: Option<String>| Object {
            kind,
            name: name.to_owned(),
            state: state.to_owned(),
            repair: repair
                .map(|repair| format!("ALTER TABLE {table} ALTER COLUMN {name} {repair}")),
            remove: None,
            is_shared: false,
        };
        let mut objects = vec![
            object(Kind::Column, self.type_name, None),
            object(Kind::NotNull, "NOT NULL", Some("SET NOT NULL".to_owned())),
        ];
        if self.type_name == "text" {
            let repair = "TYPE text COLLATE \"C\"".to_owned();
            objects.push(object(Kind::Collation, "C", Some(repair)));
        }
        if let Some(default) = self.default {
            let repair = format!("SET DEFAULT {default}");
            objects.push(object(Kind::Default, "set", Some(repair)));
        }
        objects
    }
}

fn generated(log: &LogName) -> String {
    format!("GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME {})", log.sequence())
}

/// Names the sequence of a table by the table's name.
fn sequence_suffix(table: &str) -> String {
    format!("{table}{SEQUENCE}")
}

/// What the name of a log's sequence ends with, behind the name of the log.
pub(crate) const SEQUENCE: &str = "_sequence";

struct Constraint {
    name: String,
    kind: &'static str,
    column: &'static str,
    /// What is checked, of a `CHECK`, as the server shows it.
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

    /// Renders it without its name, as an inspection shows it.
    fn state(&self) -> String {
        match self.condition {
            Some(condition) => format!("{} {condition}", self.kind),
            None => format!("{} ({})", self.kind, self.column),
        }
    }

    fn object(self, log: &LogName) -> Object {
        let (table, definition, state) = (log.table(), self.definition(), self.state());
        let Self { name, .. } = self;
        Object {
            kind: Kind::Constraint,
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
    /// The method and what is indexed, as the server shows it.
    definition: &'static str,
    options: &'static str,
}

/// The index on the payload goes without its pending list, which is flushed while the lock is held and
/// makes single appends hundredfold slower. The index on the type has the log's order too: the newest
/// event of a type, and those after a position, are found however rare the type is.
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
    fn object(&self, log: &LogName) -> Object {
        let (schema, table) = (log.schema(), log.table());
        let name = format!("{}_{}", log.log(), self.suffix);
        let Self { definition, options, .. } = self;
        Object {
            kind: Kind::Index,
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

/// The sequence belongs to the column, so that numbers come from it alone.
///
/// The trigger that compares numbers with the sequence depends on it, and is created again.
fn identity(log: &LogName) -> Object {
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
    Object {
        kind: Kind::Identity,
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

fn sequence(log: &LogName) -> Object {
    Object {
        kind: Kind::Sequence,
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

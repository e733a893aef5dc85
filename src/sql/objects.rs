//! The one description of a log's objects: what a migration creates and what a store expects to find.

use super::append::ids_constraint;
use super::schema::routines;
use crate::log::LogName;

/// The kind of a database object, as an inspection of the catalogs names it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Table,
    Column,
    Collation,
    NotNull,
    Default,
    Constraint,
    Index,
    Routine,
    Identity,
    Sequence,
    Trigger,
}

impl Kind {
    pub(crate) const ALL: [Self; 11] = [
        Self::Table,
        Self::Column,
        Self::Collation,
        Self::NotNull,
        Self::Default,
        Self::Constraint,
        Self::Index,
        Self::Routine,
        Self::Identity,
        Self::Sequence,
        Self::Trigger,
    ];

    /// Returns the name by which inspections and errors call it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Column => "column",
            Self::Collation => "collation of column",
            Self::NotNull => "nullability of column",
            Self::Default => "default of column",
            Self::Constraint => "constraint",
            Self::Index => "index",
            Self::Routine => "routine",
            Self::Identity => "identity of column",
            Self::Sequence => "sequence",
            Self::Trigger => "trigger",
        }
    }
}

/// An object of a log as it has to be.
pub(crate) struct Object {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    /// The state in which an inspection finds it if it is as it has to be.
    pub(crate) state: String,
    /// The statements that create it, or set it right. `None` if only its owner can tell what has to
    /// become of the data in it.
    pub(crate) repair: Option<String>,
    /// The statements that remove it first if it is there and differs.
    pub(crate) remove: Option<String>,
    /// Whether the logs of a schema share it.
    pub(crate) is_shared: bool,
}

/// Lists the objects of a log, each after those that its repair needs.
pub(crate) fn objects(log: &LogName) -> Vec<Object> {
    let mut objects = vec![Object {
        kind: Kind::Table,
        name: log.log().to_owned(),
        state: "a table".to_owned(),
        repair: Some(format!("ALTER TABLE {} SET LOGGED", log.table())),
        remove: None,
        is_shared: false,
    }];
    objects.extend(COLUMNS.iter().flat_map(|column| column.objects(log)));
    objects.extend(constraints(log).into_iter().map(|constraint| constraint.object(log)));
    objects.extend(INDEXES.iter().map(|index| index.object(log)));
    objects.extend(routines(log).into_iter().map(|routine| routine.object(log)));
    objects.extend([identity(log), sequence(log)]);
    objects.extend(triggers(log).into_iter().map(|trigger| trigger.object(log)));
    objects
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
    format!("GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME {})", sequence_name(log))
}

/// Names the sequence that numbers a log's events, as SQL takes it.
pub(crate) fn sequence_name(log: &LogName) -> String {
    format!("\"{}\".\"{}\"", log.schema(), sequence_suffix(log.log()))
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
    /// What is checked, of a `CHECK`.
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
        check("event_type", "octet_length(event_type) BETWEEN 1 AND 255"),
        check("occurred_at", "isfinite(occurred_at) AND occurred_at <= '9999-12-30 22:00:00+00'"),
        check("recorded_at", "isfinite(recorded_at) AND recorded_at <= '9999-12-30 22:00:00+00'"),
        check("payload", "jsonb_typeof(payload) = 'object'"),
        check("metadata", "jsonb_typeof(metadata) = 'object'"),
    ]
}

impl Constraint {
    fn definition(&self) -> String {
        let Self { name, kind, column, condition } = self;
        format!("CONSTRAINT \"{name}\" {kind} ({})", condition.unwrap_or(column))
    }

    fn object(self, log: &LogName) -> Object {
        let (table, definition) = (log.table(), self.definition());
        let Self { name, kind, column, .. } = self;
        Object {
            kind: Kind::Constraint,
            state: format!("{kind} ({column})"),
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

/// A function or a procedure.
pub(crate) struct Routine {
    /// Its name without the schema.
    pub(crate) name: String,
    /// Its `CREATE OR REPLACE`, with its body between two `$$`.
    pub(crate) create: String,
    pub(crate) is_shared: bool,
}

impl Routine {
    fn object(self, log: &LogName) -> Object {
        let Self { name, create, is_shared } = self;
        let body = create.split("$$").nth(1).unwrap_or_default().to_owned();
        // One of other parameters would stay beside it, and one of another kind in its way.
        let drop = format!(
            "DO $do$ DECLARE routine regprocedure; BEGIN
                 FOR routine IN SELECT oid FROM pg_proc WHERE proname = '{name}'
                     AND pronamespace = '\"{}\"'::regnamespace AND prorettype <> 'trigger'::regtype
                 LOOP
                     EXECUTE format('DROP ROUTINE %s', routine);
                 END LOOP;
             END $do$",
            log.schema()
        );
        let (repair, remove) = (Some(create), Some(drop));
        Object { kind: Kind::Routine, name, state: body, repair, remove, is_shared }
    }
}

/// The sequence belongs to the column, so that numbers come from it alone.
///
/// The trigger that compares numbers with the sequence depends on it, and is created again.
fn identity(log: &LogName) -> Object {
    let (table, sequence) = (log.table(), sequence_name(log));
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
            sequence_name(log)
        )),
        remove: None,
        is_shared: false,
    }
}

struct Trigger {
    name: String,
    events: &'static str,
    /// Of a trigger that fires for each row.
    when: Option<String>,
    /// The function's name without the schema.
    function: String,
}

/// A statement-level trigger fires before the first row, and with it the first number, is made: so it
/// is early enough to take the lock under which numbers are given in commit order. Numbers must come
/// from the sequence of the log; `GENERATED ALWAYS` does not bind `COPY`, the trigger does.
fn triggers(log: &LogName) -> [Trigger; 3] {
    let (name, sequence) = (log.log(), sequence_name(log));
    [
        Trigger {
            name: format!("{name}_lock_log"),
            events: "INSERT",
            when: None,
            function: "eddyline_lock_log".to_owned(),
        },
        Trigger {
            name: format!("{name}_refuse_number"),
            events: "INSERT",
            when: Some(format!(
                "NEW.sequence_number IS DISTINCT FROM pg_sequence_last_value('{sequence}')"
            )),
            function: "eddyline_refuse_number".to_owned(),
        },
        Trigger {
            name: format!("{name}_refuse_change"),
            events: "UPDATE OR DELETE OR TRUNCATE",
            when: None,
            function: "eddyline_refuse_change".to_owned(),
        },
    ]
}

impl Trigger {
    fn create(&self, log: &LogName) -> String {
        let Self { name, events, when, function } = self;
        let (schema, table) = (log.schema(), log.table());
        let level = match when {
            None => "STATEMENT".to_owned(),
            Some(when) => format!("ROW WHEN ({when})"),
        };
        format!(
            "CREATE OR REPLACE TRIGGER \"{name}\" BEFORE {events} ON {table}
                 FOR EACH {level} EXECUTE FUNCTION \"{schema}\".\"{function}\"();
             ALTER TABLE {table} ENABLE TRIGGER \"{name}\""
        )
    }

    fn object(self, log: &LogName) -> Object {
        let repair = Some(self.create(log));
        let Self { name, events, when, function } = self;
        let level = if when.is_some() { "ROW" } else { "STATEMENT" };
        // Its condition names the log in the name of a setting, if it names one.
        let setting = when
            .iter()
            .flat_map(|when| when.split('\''))
            .find(|part| part.starts_with("eddyline.head."));
        let setting = setting.map(|setting| format!(" WHEN {setting}")).unwrap_or_default();
        Object {
            kind: Kind::Trigger,
            state: format!("enabled BEFORE {events} {level} {function}{setting}"),
            name,
            repair,
            remove: None,
            is_shared: false,
        }
    }
}

//! The one description of a log's objects: what a migration creates and what a store expects to find.

use super::schema::routines;
use super::table;
use super::triggers::triggers;
use crate::log_name::LogName;

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
    let mut objects = vec![table::table(log)];
    objects.extend(table::parts(log));
    objects.extend(routines(log).into_iter().map(|routine| routine.object(log)));
    objects.extend(table::numbering(log));
    objects.extend(triggers(log).into_iter().map(|trigger| trigger.object(log)));
    objects
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
        let mut parts = create.split("$$");
        let (head, body) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        // The server shows each setting as `name=value`.
        let settings = head.split(" SET ").skip(1).map(|setting| {
            let setting = setting.trim_end().trim_end_matches(" AS");
            format!(" SET {}", setting.replacen(" = ", "=", 1))
        });
        let state = body.to_owned() + &settings.collect::<String>();
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
        Object { kind: Kind::Routine, name, state, repair, remove, is_shared }
    }
}

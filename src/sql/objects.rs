//! The database objects of a log: a migration creates them, and a store checks them when it
//! connects.

use super::schema::routines;
use super::table;
use super::triggers::triggers;
use super::versions;
use crate::log_name::LogName;

/// The kind of a database object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ObjectKind {
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
    /// A column of `eddyline_schema`.
    IdentityColumn,
}

impl ObjectKind {
    pub(crate) const ALL: [Self; 12] = [
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
        Self::IdentityColumn,
    ];

    /// Returns the name of the kind in inspections and errors.
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
            Self::IdentityColumn => "column of table eddyline_schema",
        }
    }
}

/// A database object of a log, in its required state.
pub(crate) struct SchemaObject {
    pub(crate) kind: ObjectKind,
    pub(crate) name: String,
    /// The required state, as an inspection shows it.
    pub(crate) state: String,
    /// The statements that create or repair the object. `None` if a repair could lose data, so that
    /// the owner has to decide.
    pub(crate) repair: Option<String>,
    /// The statements that remove an existing object in another state before the repair.
    pub(crate) remove: Option<String>,
    /// Whether all logs of a schema share the object.
    pub(crate) is_shared: bool,
}

/// Lists the objects of a log. Each comes after the objects that its repair needs.
pub(crate) fn objects(log: &LogName) -> Vec<SchemaObject> {
    let mut objects = vec![table::table(log)];
    objects.extend(versions::objects(log));
    objects.extend(table::parts(log));
    objects.extend(routines(log).into_iter().map(|routine| routine.object(log)));
    objects.extend(table::numbering(log));
    objects.extend(triggers(log).into_iter().map(|trigger| trigger.object(log)));
    objects
}

/// The clause of a routine that has the rights of its owner.
const DEFINER: &str = " SECURITY DEFINER";

/// A function or a procedure.
pub(crate) struct Routine {
    /// The name without the schema.
    pub(crate) name: String,
    /// The `CREATE OR REPLACE` statement, with the body between two `$$`.
    pub(crate) create: String,
    pub(crate) is_shared: bool,
}

impl Routine {
    fn object(self, log: &LogName) -> SchemaObject {
        let Self { name, create, is_shared } = self;
        let mut parts = create.split("$$");
        let (head, body) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        // The catalogs show each setting as `name=value`.
        let settings = head.split(" SET ").skip(1).map(|setting| {
            let setting = setting.trim_end().trim_end_matches(" AS");
            format!(" SET {}", setting.replacen(" = ", "=", 1))
        });
        let definer = if head.contains(DEFINER) { DEFINER } else { "" };
        let state = body.to_owned() + definer + &settings.collect::<String>();
        // CREATE OR REPLACE would keep a routine with other parameters, and fail for a function
        // with the name of the procedure.
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
        SchemaObject { kind: ObjectKind::Routine, name, state, repair, remove, is_shared }
    }
}

use super::objects::{ObjectKind, SchemaObject};
use super::procedure;
use crate::log_name::LogName;

/// A trigger of a log's table.
pub(super) struct Trigger {
    pub(super) name: String,
    events: &'static str,
    /// The condition of a row-level trigger. A statement-level trigger has none.
    pub(super) when: Option<String>,
    /// The name of the function without the schema.
    function: String,
}

/// Lists the triggers of a log's table: the first two guard the log's order (Lemma 1), the third
/// refuses changes of events.
pub(super) fn triggers(log: &LogName) -> [Trigger; 3] {
    let name = log.log();
    [
        Trigger {
            name: format!("{name}_lock_log"),
            events: "INSERT",
            when: None,
            function: format!("{name}_lock_log"),
        },
        Trigger {
            name: format!("{name}_refuse_number"),
            events: "INSERT",
            when: Some(procedure::is_refused(log)),
            function: format!("{name}_refuse_number"),
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
    /// Renders the statements that create and enable the trigger.
    pub(super) fn create(&self, log: &LogName) -> String {
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

    pub(super) fn object(self, log: &LogName) -> SchemaObject {
        let repair = Some(self.create(log));
        let Self { name, events, when, function } = self;
        let level = if when.is_some() { "ROW" } else { "STATEMENT" };
        let condition = if when.is_some() { REFUSED_AS_SHOWN } else { "" };
        SchemaObject {
            kind: ObjectKind::Trigger,
            state: format!("enabled BEFORE {events} {level} {function}{condition}"),
            name,
            repair,
            remove: None,
            is_shared: false,
        }
    }
}

/// The condition of the row-level trigger, as an inspection shows it. The server stores a condition
/// as a parsed expression and prints it in its own way.
const REFUSED_AS_SHOWN: &str =
    " WHEN (new.sequence_number IS DISTINCT FROM pg_sequence_last_value(its sequence))";

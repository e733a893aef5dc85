use super::objects::{Kind, Object};
use super::procedure;
use crate::log_name::LogName;

/// A trigger of a log's table.
pub(super) struct Trigger {
    pub(super) name: String,
    events: &'static str,
    /// The condition of a trigger that fires for each row.
    pub(super) when: Option<String>,
    /// The function's name without the schema.
    function: String,
}

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
    /// Renders its creation, which also enables it.
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

    pub(super) fn object(self, log: &LogName) -> Object {
        let repair = Some(self.create(log));
        let Self { name, events, when, function } = self;
        let level = if when.is_some() { "ROW" } else { "STATEMENT" };
        let condition = if when.is_some() { REFUSED_AS_SHOWN } else { "" };
        Object {
            kind: Kind::Trigger,
            state: format!("enabled BEFORE {events} {level} {function}{condition}"),
            name,
            repair,
            remove: None,
            is_shared: false,
        }
    }
}

/// The condition of the trigger for each row, as an inspection shows it: of a condition, the server keeps
/// the meaning and not the text.
const REFUSED_AS_SHOWN: &str =
    " WHEN (new.sequence_number IS DISTINCT FROM pg_sequence_last_value(its sequence))";

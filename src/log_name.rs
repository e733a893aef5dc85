use std::fmt;

use crate::Error;

/// The longest identifier. Names derived from it must not exceed PostgreSQL's limit of 63 bytes.
const MAX_IDENTIFIER_BYTES: usize = 40;

/// The SQLSTATE with which a log refuses an event whose position is not above the head.
pub(crate) const SEQUENCE_BEHIND: &str = "LE001";
/// The SQLSTATE with which a log refuses an event because it has no row in `eddyline_schema`.
pub(crate) const UNVERSIONED: &str = "LE002";

/// The name of a log, which is the name of its table, and of its schema. Both are checked.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct LogName {
    schema: String,
    log: String,
}

impl LogName {
    pub(crate) fn new(schema: &str, log: &str) -> Result<Self, Error> {
        let schema = check_identifier("schema", schema)?.to_owned();
        let log = check_identifier("log", log)?.to_owned();
        Ok(Self { schema, log })
    }

    pub(crate) fn schema(&self) -> &str {
        &self.schema
    }

    pub(crate) fn log(&self) -> &str {
        &self.log
    }

    /// Returns the quoted, schema-qualified name of the log's table.
    pub(crate) fn table(&self) -> String {
        format!("\"{}\".\"{}\"", self.schema, self.log)
    }

    /// Returns the quoted, schema-qualified name of the procedure that appends events.
    pub(crate) fn append_procedure(&self) -> String {
        format!("\"{}\".\"{}_append\"", self.schema, self.log)
    }

    /// Returns the quoted, schema-qualified name of the sequence that gives positions.
    pub(crate) fn sequence(&self) -> String {
        format!("\"{}\".\"{}_sequence\"", self.schema, self.log)
    }
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.log)
    }
}

/// Checks a name that is inserted into SQL text, always within double quotes.
pub(crate) fn check_identifier<'a>(setting: &'static str, name: &'a str) -> Result<&'a str, Error> {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    let valid = name.starts_with(letter)
        && name.chars().all(|c| letter(c) || c.is_ascii_digit())
        && name.len() <= MAX_IDENTIFIER_BYTES;
    if valid {
        return Ok(name);
    }
    Err(Error::invalid_config(
        setting,
        format!(
            "{name:?} is not a name of 1 to {MAX_IDENTIFIER_BYTES} letters, digits and \
             underscores that begins with a letter or an underscore"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_with_other_characters_are_refused() {
        for name in ["", "events\"; DROP TABLE x --", "my events", "1st", "évènements", "a.b"] {
            assert!(matches!(
                LogName::new("public", name),
                Err(Error::InvalidConfig { setting: "log", .. })
            ));
        }
    }

    proptest! {
        /// No accepted name contains a double quote, which would end the quoted identifier.
        #[test]
        fn no_accepted_name_ends_its_quotes(name in ".*") {
            if let Ok(log) = LogName::new("public", &name) {
                prop_assert_eq!(log.table().matches('"').count(), 4);
            }
        }
    }
}

//! Settings of a server's configuration file.

use std::fmt::Write;

use crate::Error;

/// Settings of PostgreSQL in the order of their addition. The last one of a name applies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    entries: Vec<(String, String)>,
}

impl Settings {
    /// Adds a setting.
    pub(crate) fn set(&mut self, name: impl Into<String>, value: impl ToString) {
        self.entries.push((name.into(), value.to_string()));
    }

    /// Adds all settings of another list.
    pub(crate) fn extend(&mut self, other: &Self) {
        self.entries.extend_from_slice(&other.entries);
    }

    /// Renders the settings in the syntax of `postgresql.conf`.
    pub(crate) fn render(&self) -> Result<String, Error> {
        let mut text = String::new();
        for (name, value) in &self.entries {
            let is_valid = |name: &str| {
                name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
                    && name.chars().all(|each| each.is_ascii_alphanumeric() || "_.".contains(each))
            };
            if !is_valid(name) {
                return Err(Error::InvalidSetting { name: name.clone() });
            }
            let value = value.replace('\\', r"\\").replace('\'', "''").replace('\n', r"\n");
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name} = '{value}'");
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_special_characters_of_a_value() -> Result<(), Error> {
        let mut settings = Settings::default();
        settings.set("log_line_prefix", "it's \\ a\nprefix");

        assert_eq!(settings.render()?, "log_line_prefix = 'it''s \\\\ a\\nprefix'\n");
        Ok(())
    }

    #[test]
    fn refuses_a_name_that_would_break_the_file() {
        let mut settings = Settings::default();
        settings.set("fsync = off #", "on");

        assert!(matches!(settings.render(), Err(Error::InvalidSetting { .. })));
    }
}

//! The violations that a checker finds, and what follows from them.

use std::fmt;
use std::process::ExitCode;

use serde::Serialize;

/// The violations of one kind.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Violations {
    /// The number of violations.
    pub count: u64,
    /// Descriptions of the first few.
    pub examples: Vec<String>,
}

impl Violations {
    /// The greatest number of examples.
    pub const EXAMPLES: usize = 3;

    /// Adds a violation.
    pub fn add(&mut self, example: impl FnOnce() -> String) {
        self.count += 1;
        if self.examples.len() < Self::EXAMPLES {
            self.examples.push(example());
        }
    }

    /// Writes the name of their kind, the number and the examples, one a line.
    ///
    /// # Errors
    ///
    /// Errors of the formatter.
    pub fn write(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{name} {}", self.count)?;
        self.examples.iter().try_for_each(|example| writeln!(f, "    {example}"))
    }
}

/// The overall result of a program that looks for violations.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Conclusion {
    /// The result is the expected one.
    Passed,
    /// The result is not the expected one.
    Failed,
    /// The result proves nothing, because something that the run must include did not occur.
    Void,
}

impl Conclusion {
    /// Returns the exit code of the program.
    pub fn exit_code(self) -> ExitCode {
        match self {
            Self::Passed => ExitCode::SUCCESS,
            Self::Failed => ExitCode::from(1),
            Self::Void => ExitCode::from(3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_all_and_keeps_the_first_examples() {
        let mut violations = Violations::default();

        (0..10).for_each(|number| violations.add(|| number.to_string()));

        assert_eq!(violations.count, 10);
        assert_eq!(violations.examples, ["0", "1", "2"]);
    }
}

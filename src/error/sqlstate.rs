use std::fmt;

/// Holds the five characters by which a server names the reason of a failure.
///
/// Appendix A of PostgreSQL's manual lists them.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct SqlState(String);

impl SqlState {
    pub(crate) fn new(code: &str) -> Self {
        Self(code.to_owned())
    }

    /// Returns the five characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

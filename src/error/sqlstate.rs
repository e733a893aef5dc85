use std::fmt;

/// The five characters of a SQLSTATE, by which a server names the reason of an error.
///
/// Appendix A of the PostgreSQL manual lists them.
///
/// ```
/// # use eddyline::Error;
/// fn is_disk_full(error: &Error) -> bool {
///     error.sqlstate().is_some_and(|sqlstate| sqlstate.as_str() == "53100")
/// }
/// ```
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

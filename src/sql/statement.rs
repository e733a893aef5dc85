use std::borrow::Cow;
use std::fmt;

use postgres_types::Type;

use super::param::Param;

/// A statement: its text, and the values of its parameters, `$1` first.
pub(crate) struct Statement<'a> {
    pub(crate) text: Cow<'a, str>,
    pub(crate) params: Vec<Param<'a>>,
}

impl Statement<'static> {
    /// Makes a statement without parameters.
    pub(super) fn without_params(text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.into(), params: Vec::new() }
    }
}

impl<'a> Statement<'a> {
    /// Returns the parameters with their types. A statement that is not prepared needs both.
    pub(crate) fn typed_params(&self) -> impl Iterator<Item = (&Param<'a>, Type)> {
        self.params.iter().map(|param| (param, param.sql_type()))
    }
}

/// The parameters of a statement whose text is being rendered.
pub(super) struct Params<'a>(Vec<Param<'a>>);

impl<'a> Params<'a> {
    /// Makes an empty list with capacity for this number of parameters.
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// Adds a parameter and returns its placeholder.
    pub(super) fn bind(&mut self, param: Param<'a>) -> Placeholder {
        self.0.push(param);
        Placeholder(self.0.len())
    }

    /// Makes the statement whose text has the placeholders.
    pub(super) fn into_statement(self, text: impl Into<Cow<'a, str>>) -> Statement<'a> {
        Statement { text: text.into(), params: self.0 }
    }
}

/// A reference to a parameter in the text of a statement, displayed as `$1`.
#[derive(Clone, Copy)]
pub(super) struct Placeholder(usize);

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${}", self.0)
    }
}

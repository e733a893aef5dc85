/// What a handler does.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum HandlerKind {
    /// It runs commands, which may append events.
    Command,
    /// It answers queries, which only read.
    Query,
}

impl HandlerKind {
    /// Returns the name of the kind in metrics and traces.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Query => "query",
        }
    }
}

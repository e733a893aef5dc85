/// What is asked of a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Request {
    /// Appends of one request.
    Append,
    /// Appends of several requests.
    BatchAppend,
    /// The log's lock, and the events that a decision reads under it.
    Decide,
    Head,
    Query,
    /// A search for the events that decide an append.
    Search,
    Stream,
}

#[cfg_attr(not(feature = "telemetry"), expect(dead_code))]
impl Request {
    pub(super) const ALL: [Self; 7] = [
        Self::Append,
        Self::BatchAppend,
        Self::Decide,
        Self::Head,
        Self::Query,
        Self::Search,
        Self::Stream,
    ];

    /// Returns the name of the request as OpenTelemetry's conventions have it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::BatchAppend => "BATCH append",
            Self::Decide => "decide",
            Self::Head => "head",
            Self::Query => "query",
            Self::Search => "search",
            Self::Stream => "stream",
        }
    }

    /// Returns whether the request calls the log's append procedure.
    pub(super) fn calls_procedure(self) -> bool {
        matches!(self, Self::Append | Self::BatchAppend)
    }
}

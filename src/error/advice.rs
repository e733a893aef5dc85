use super::Error;

impl Error {
    /// Adds what other ways to the same server came to, where the error has room for it.
    pub(crate) fn noting(mut self, others: &[Self]) -> Self {
        if let Self::Unreachable { reason, .. } | Self::UnsuitableServer { reason, .. } = &mut self
        {
            for other in others {
                reason.to_mut().push_str(&format!("; {other}"));
            }
        }
        self
    }
}

/// Says what to do about a server's refusal, if it is something that its text does not say.
pub(super) fn advice(sqlstate: &str) -> &'static str {
    match sqlstate {
        "26000" | "42P05" => {
            ": a prepared statement is not the connection's own; if a pooler shares connections by \
             transaction, set Config::pooler(Pooler::Transaction)"
        }
        "2200H" => {
            ": if it is the log's sequence that has reached its maximum, run \
             eddyline::Schema::migrate once, as the owner of the log"
        }
        "42501" => {
            ": the role lacks a right; eddyline::Schema::migrate gives a role its rights by \
             writer_role or reader_role, and is run by the owner of the log; to create a log, its \
             role needs USAGE and CREATE on the schema or, if there is no such schema, CREATE on the \
             database; to create roles, it needs CREATEROLE"
        }
        "53300" => {
            ": no connection is left for the role; lower Config::max_connections, or raise the \
             limit of the role or of the server"
        }
        _ => "",
    }
}

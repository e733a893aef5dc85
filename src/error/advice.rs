use super::Error;

impl Error {
    /// Adds the errors of other hosts and addresses of the same server to the reason.
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

/// Returns what to do about an SQLSTATE, if the server's message does not say it.
pub(super) fn advice(sqlstate: &str) -> &'static str {
    match sqlstate {
        "26000" | "42P05" => {
            ": the prepared statement belongs to another connection; if a pooler shares connections \
             by transaction, set Config::pooler(Pooler::Transaction)"
        }
        "28000" | "28P01" => {
            ": the server rejects the role or its password; check both in the address"
        }
        "3D000" => ": the database does not exist; check its name in the address, or create it",
        "55P03" => {
            ": the lock was not free within Config::lock_timeout; if it is the log's lock, the source \
             of this error names its holder"
        }
        "2200H" => {
            ": if the sequence is that of the log, run eddyline::Schema::migrate once, as the owner \
             of the log"
        }
        "42501" => {
            ": the role lacks a right; the owner of the log grants it by eddyline::Schema::migrate \
             with writer_role or reader_role; to create a log, a role needs USAGE and CREATE on the \
             schema or, if the schema does not exist, CREATE on the database; to create roles, it \
             needs CREATEROLE"
        }
        "53300" => {
            ": no connection is left for the role; lower Config::max_connections, or raise the limit \
             of the role or of the server"
        }
        _ => "",
    }
}

/// The remedy for a log that is damaged or of an older version.
pub(crate) const MIGRATE: &str = "run eddyline::Schema::migrate once, as the owner of the log";

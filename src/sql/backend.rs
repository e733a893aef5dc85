use super::param::{Param, Statement};

/// Renders the end of a process of the server, given its number and the microseconds since 1970 at
/// which it was started; by then another process may have the number.
pub(crate) fn end_backend(process: i64, started: i64) -> Statement<'static> {
    let text = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE pid = $1 AND {STARTED} = $2"
    );
    Statement { text, params: vec![Param::BigInt(process), Param::BigInt(started)] }
}

/// The two values by which a connection's own process is known.
pub(crate) fn own_backend() -> String {
    format!(
        "pg_backend_pid(),
         (SELECT {STARTED} FROM pg_stat_activity WHERE pid = pg_backend_pid())"
    )
}

const STARTED: &str = "(extract(epoch FROM backend_start) * 1000000)::bigint";

use super::param::{Param, Statement};

/// Renders the end of processes of the server, given their numbers and the microseconds since 1970 at
/// which each was started; by then another process may have the number.
pub(crate) fn end_backends(backends: &[(i64, i64)]) -> Statement<'static> {
    let text = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE (pid, {STARTED}) IN (SELECT * FROM unnest($1::bigint[], $2::bigint[]))"
    );
    let (processes, started) = backends.iter().copied().unzip();
    Statement { text, params: vec![Param::BigInts(processes), Param::BigInts(started)] }
}

/// The two values by which a connection's own process is known.
pub(crate) fn own_backend() -> String {
    format!(
        "pg_backend_pid(),
         (SELECT {STARTED} FROM pg_stat_activity WHERE pid = pg_backend_pid())"
    )
}

const STARTED: &str = "(extract(epoch FROM backend_start) * 1000000)::bigint";

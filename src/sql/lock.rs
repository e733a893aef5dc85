use std::time::Duration;

use super::param::Statement;
use crate::log::LogName;

/// The upper half of the key of a log's advisory lock; the lower half is the oid of its table.
pub(crate) const LOCK_CLASS: i64 = 0x0edd_1e5e;

/// How long the parts of a decision under the log's lock may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeldTimeouts {
    /// The decision itself, and then the arrival of its events.
    pub(crate) client: Duration,
    /// The wait for the lock, if that is not what the connection is set to.
    pub(crate) lock: Option<Duration>,
    /// A statement.
    pub(crate) statement: Duration,
}

/// Renders the statement that takes the log's lock for a transaction which goes on reading and
/// deciding.
///
/// It stands alone because a statement's snapshot is older than a lock taken within it. PostgreSQL
/// resolves the name of the table again whenever the table was dropped and made anew.
pub(crate) fn lock_to_decide(log: &LogName, timeouts: HeldTimeouts) -> Statement<'static> {
    let table = log.table();
    let milliseconds = |time: Duration| time.as_millis().to_string();
    // A plan that does not know the values may read the whole log while all other appends wait.
    let mut settings = vec![("plan_cache_mode", "force_custom_plan".to_owned())];
    // The lock's own statement is still under the limit of the connection.
    settings.push(("statement_timeout", milliseconds(timeouts.statement)));
    settings.push(("idle_in_transaction_session_timeout", milliseconds(timeouts.client)));
    if let Some(lock) = timeouts.lock {
        settings.push(("lock_timeout", milliseconds(lock)));
    }
    let mut text = "SELECT ".to_owned();
    // Before the lock, whose wait one of them limits.
    for (setting, value) in settings {
        text += &format!("set_config('{setting}', '{value}', true), ");
    }
    text += &format!(
        "pg_advisory_xact_lock(({LOCK_CLASS}::bigint << 32) | '{table}'::regclass::oid::bigint)"
    );
    Statement { text, params: Vec::new() }
}

/// Renders the setting of how long the server waits for what comes next in the transaction.
pub(crate) fn wait_for_client(time: Duration) -> String {
    format!("SET LOCAL idle_in_transaction_session_timeout = {}", time.as_millis())
}

/// Renders the question who holds the log's lock. It answers with a row of words, if anybody does.
pub(crate) fn lock_holder(log: &LogName) -> Statement<'static> {
    let table = log.table();
    let text = format!(
        "SELECT format('process %s (%s of %s from %s), %s, in its transaction for %s',
             activity.pid, coalesce(nullif(application_name, ''), 'a program'), usename,
             coalesce(host(client_addr), 'the server''s machine'), coalesce(state, 'at work'),
             coalesce(date_trunc('milliseconds', clock_timestamp() - xact_start)::text, 'some time'))
         FROM pg_locks JOIN pg_stat_activity AS activity USING (pid)
         WHERE locktype = 'advisory' AND granted AND objsubid = 1
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
             AND classid = {LOCK_CLASS}::oid AND objid = '{table}'::regclass::oid
         LIMIT 1"
    );
    Statement { text, params: Vec::new() }
}

/// How long the server waits for the next request of a transaction, before it ends the transaction
/// and with it the connection.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(2);

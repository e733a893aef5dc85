use std::time::Duration;

use super::param::Statement;
use super::plan::StatementPlan;
use crate::log_name::LogName;

/// The upper half of the key of a log's advisory lock; the lower half is the oid of its table.
pub(crate) const LOCK_CLASS: i64 = 0x0edd_1e5e;

/// Renders the key of the log's advisory lock, by names that no search path changes.
pub(super) fn lock_key(log: &LogName) -> String {
    let table = log.table();
    format!(
        "({LOCK_CLASS}::pg_catalog.int8 OPERATOR(pg_catalog.<<) 32) OPERATOR(pg_catalog.|)
             '{table}'::pg_catalog.regclass::pg_catalog.oid::pg_catalog.int8"
    )
}

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
    let milliseconds = |time: Duration| time.as_millis().to_string();
    // A plan that does not know the values may read the whole log while all other appends wait.
    let (plan_cache_mode, custom) = StatementPlan::Custom.setting();
    let mut settings = vec![(plan_cache_mode, custom.to_owned())];
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
    text += &format!("pg_advisory_xact_lock({})", lock_key(log));
    Statement { text, params: Vec::new() }
}

/// Renders the setting of how long the server waits for what comes next in the transaction.
pub(crate) fn wait_for_client(time: Duration) -> String {
    format!("SET LOCAL idle_in_transaction_session_timeout = {}", time.as_millis())
}

/// Renders the question who holds the log's lock. It answers with a row of words, if anybody does.
///
/// A prepared transaction holds its locks without a process. Its name is found by its number, which is
/// what another one of its locks is for.
pub(crate) fn lock_holder(log: &LogName) -> Statement<'static> {
    let table = log.table();
    let text = format!(
        "SELECT CASE WHEN prepared.gid IS NOT NULL THEN
             format('the prepared transaction %L of %s, prepared at %s: end it by COMMIT PREPARED %L or ROLLBACK PREPARED %L',
                 prepared.gid, prepared.owner, prepared.prepared, prepared.gid, prepared.gid)
         WHEN held.pid IS NULL THEN 'a transaction without a process'
         ELSE format('process %s (%s of %s from %s), %s, in its transaction for %s',
             held.pid, coalesce(nullif(application_name, ''), 'a program'), coalesce(usename, 'a role'),
             coalesce(host(client_addr), 'the server''s machine'), coalesce(state, 'at work'),
             coalesce(date_trunc('milliseconds', clock_timestamp() - xact_start)::text, 'some time'))
         END
         FROM pg_locks AS held LEFT JOIN pg_stat_activity AS activity ON activity.pid = held.pid
             LEFT JOIN pg_locks AS own ON held.pid IS NULL AND own.pid IS NULL
                 AND own.locktype = 'transactionid' AND own.granted
                 AND own.virtualtransaction = held.virtualtransaction
             LEFT JOIN pg_prepared_xacts AS prepared ON prepared.transaction = own.transactionid
         WHERE held.locktype = 'advisory' AND held.granted AND held.objsubid = 1
             AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
             AND held.classid = {LOCK_CLASS}::oid AND held.objid = '{table}'::regclass::oid
         LIMIT 1"
    );
    Statement { text, params: Vec::new() }
}

/// How long the server waits for the next request of a transaction, before it ends the transaction
/// and with it the connection.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(2);

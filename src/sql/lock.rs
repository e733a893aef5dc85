use std::fmt::Write as _;
use std::time::Duration;

use super::plan::StatementPlan;
use super::statement::Statement;
use crate::log_name::LogName;

/// The upper half of the key of a log's advisory lock. The lower half is the oid of the log's
/// table.
pub(crate) const LOCK_CLASS: i64 = 0x0edd_1e5e;

/// Renders the key of the log's advisory lock. All names are qualified, so that no search path
/// changes their meaning.
pub(super) fn lock_key(log: &LogName) -> String {
    let table = log.table();
    format!(
        "({LOCK_CLASS}::pg_catalog.int8 OPERATOR(pg_catalog.<<) 32) OPERATOR(pg_catalog.|)
             '{table}'::pg_catalog.regclass::pg_catalog.oid::pg_catalog.int8"
    )
}

/// The timeouts of a decision under the log's lock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LockedTimeouts {
    /// How long the server waits for the client: while it decides, and then until its events
    /// arrive.
    pub(crate) client: Duration,
    /// How long the statement waits for the lock. `None` keeps the setting of the connection.
    pub(crate) lock: Option<Duration>,
    /// How long each statement may take.
    pub(crate) statement: Duration,
}

/// Renders the statement that takes the log's lock for a transaction which then reads and decides.
///
/// The lock has a statement of its own: a statement's snapshot is older than a lock that the
/// statement takes (Lemma 2). PostgreSQL resolves the table's name again after the table was
/// dropped and created again.
pub(crate) fn lock_to_decide(log: &LogName, timeouts: LockedTimeouts) -> Statement<'static> {
    let milliseconds = |time: Duration| time.as_millis().to_string();
    // A generic plan may read the whole log while all other appends wait.
    let (plan_cache_mode, custom) = StatementPlan::Custom.setting();
    let mut settings = vec![(plan_cache_mode, custom.to_owned())];
    // The timeout applies from the next statement on. This one has the connection's timeout.
    settings.push(("statement_timeout", milliseconds(timeouts.statement)));
    settings.push(("idle_in_transaction_session_timeout", milliseconds(timeouts.client)));
    if let Some(lock) = timeouts.lock {
        settings.push(("lock_timeout", milliseconds(lock)));
    }
    let mut text = "SELECT ".to_owned();
    // The settings come before the lock, since `lock_timeout` limits the wait for it.
    for (setting, value) in settings {
        let _ = write!(text, "set_config('{setting}', '{value}', true), ");
    }
    let _ = write!(text, "pg_advisory_xact_lock({})", lock_key(log));
    Statement::without_params(text)
}

/// Renders the setting of how long the server waits for the next request of the transaction.
pub(crate) fn wait_for_client(time: Duration) -> String {
    format!("SET LOCAL idle_in_transaction_session_timeout = {}", time.as_millis())
}

/// Renders the query for the holder of the log's lock. It returns one row with a description, or no
/// row if the lock is free.
///
/// A prepared transaction holds its locks without a process. Its name is found by its transaction
/// id, which is in another of its locks.
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
    Statement::without_params(text)
}

/// The time for which the server waits for the next request of a transaction. Then it ends the
/// transaction and the connection.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(2);

use std::time::Duration;

use super::append::Staleness;
use super::param::Statement;
use crate::log::LogName;

/// The upper half of the key of a log's advisory lock; the lower half is the oid of its table.
/// The trigger of the schema takes the same key.
pub(crate) const LOCK_CLASS: i64 = 0x0edd_1e5e;

/// The condition that a statement runs under the lock, with a snapshot that is newer: under any other
/// isolation it would be that of BEGIN.
pub(super) const LOCK_IS_HELD: &str = "(current_setting('eddyline.lock', true) = 'held'
     AND current_setting('transaction_isolation') = 'read committed')";

/// Renders the statement that takes the log's lock to the end of the transaction.
///
/// It stands alone because a statement's snapshot is older than a lock taken within it. It marks
/// the transaction as holding the lock, so that an insert which for any reason runs outside of
/// that transaction stores nothing. The name of the table is resolved again by PostgreSQL whenever
/// the table was dropped and made anew.
///
/// What comes after it may be so large that it takes longer to arrive than the server lets a
/// transaction be idle: it can be given more time. And who sends it may have less time than the
/// server lets a lock be waited for: then the server has to give up first, or nobody knows what
/// became of the rest.
pub(crate) fn lock(log: &LogName, staleness: Staleness, waits: Waits) -> Statement<'static> {
    // The look through recent events is best with a plan that does not depend on values and need
    // not be made again; the look by index needs one that does.
    let plan = match staleness {
        Staleness::Fresh => "force_generic_plan",
        Staleness::Stale => "force_custom_plan",
    };
    let mut settings = vec![("plan_cache_mode", plan.to_owned())];
    settings.extend(in_milliseconds([
        ("lock_timeout", waits.for_lock),
        ("idle_in_transaction_session_timeout", waits.for_client),
    ]));
    take_lock(log, &settings)
}

/// Renders the setting by which what comes next in the transaction is planned for its values, as a
/// look by index needs.
pub(crate) fn plan_by_value() -> &'static str {
    "SET LOCAL plan_cache_mode = force_custom_plan"
}

/// How long the server may wait, where that is not what the connection is set to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    pub(crate) for_lock: Option<Duration>,
    pub(crate) for_client: Option<Duration>,
}

/// Renders the statement that takes the log's lock for a transaction which goes on reading and
/// deciding, and whose statements may take so long each.
pub(crate) fn lock_to_decide(
    log: &LogName,
    statement_timeout: Duration,
    for_lock: Option<Duration>,
) -> Statement<'static> {
    // A plan that does not know the values may read the whole log while everybody waits.
    let mut settings = vec![("plan_cache_mode", "force_custom_plan".to_owned())];
    // The lock's own statement is still under the limit of the connection.
    settings.extend(in_milliseconds([
        ("statement_timeout", Some(statement_timeout)),
        ("lock_timeout", for_lock),
    ]));
    take_lock(log, &settings)
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

/// Lists the settings that are to be other than they are.
fn in_milliseconds(settings: [(&'static str, Option<Duration>); 2]) -> Vec<(&'static str, String)> {
    let settings = settings.into_iter();
    settings.filter_map(|(name, time)| Some((name, time?.as_millis().to_string()))).collect()
}

fn take_lock(log: &LogName, settings: &[(&str, String)]) -> Statement<'static> {
    let table = log.table();
    let mut text = "SELECT ".to_owned();
    // Before the lock, whose wait one of them limits.
    for (setting, value) in settings {
        text += &format!("set_config('{setting}', '{value}', true), ");
    }
    text += &format!(
        "pg_advisory_xact_lock(({LOCK_CLASS}::bigint << 32) | '{table}'::regclass::oid::bigint),
             set_config('eddyline.lock', 'held', true)"
    );
    Statement { text, params: Vec::new() }
}

/// How long the server waits for the next request of a transaction, before it ends the transaction
/// and with it the connection.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(2);

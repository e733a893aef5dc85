use std::time::Duration;

use super::lock::IDLE_TIMEOUT;
use super::plan::StatementPlan;
use crate::Role;

/// The settings of the connections, in the order in which they are set.
///
/// - `search_path`: functions are PostgreSQL's own, whatever schemas the database puts before them.
/// - `gin_fuzzy_search_limit`: a limit would make GIN indexes return a sample of the events.
/// - `plan_cache_mode`: reads have custom plans, unless they are written for a generic plan. The
///   generic plan of any other read would scan the whole log.
/// - `enable_seqscan`: a sequential scan is never the best plan. A read of the whole log needs its
///   order, which the primary key has, and any other read has an index. Without the setting the
///   planner would choose the scan for a table that was small when it was last analyzed.
/// - `jit`, `max_parallel_workers_per_gather`: compilation and parallel workers cost more than any
///   of these statements.
/// - `idle_in_transaction_session_timeout`: no transaction waits for this process, except for a
///   decision under the log's lock. A transaction of which only a part has arrived must not keep
///   the lock.
#[derive(Clone, Debug)]
pub(crate) struct Settings(Vec<(&'static str, String)>);

impl Settings {
    pub(crate) fn new(
        plan: StatementPlan,
        statement_timeout: Duration,
        lock_timeout: Duration,
    ) -> Self {
        let milliseconds = |time: Duration| time.as_millis().to_string();
        let fixed = [
            ("search_path", "pg_catalog"),
            plan.setting(),
            ("enable_seqscan", "off"),
            ("enable_bitmapscan", "on"),
            ("jit", "off"),
            ("gin_fuzzy_search_limit", "0"),
            ("max_parallel_workers_per_gather", "0"),
        ];
        let mut settings = fixed.map(|(name, value)| (name, value.to_owned())).to_vec();
        settings.push(("statement_timeout", milliseconds(statement_timeout)));
        settings.push(("lock_timeout", milliseconds(lock_timeout)));
        settings.push(("idle_in_transaction_session_timeout", milliseconds(IDLE_TIMEOUT)));
        Self(settings)
    }

    /// Renders the settings of a session, with those that need a connection of the store's own.
    ///
    /// - `default_transaction_isolation`: a default of SERIALIZABLE would fail on a replica.
    /// - `tcp_keepalives_…`: a transaction must not keep the lock after its client has vanished.
    ///   With its default settings a server notices that after two hours.
    /// - `tcp_user_timeout`: a client may leave data unread for as long as a statement may take,
    ///   since streams may be read slowly.
    pub(crate) fn session(&self, role: Role, statement_timeout: Duration) -> String {
        let mut settings = self.0.clone();
        let seconds = |time: Duration| time.as_secs().to_string();
        settings.push(("default_transaction_isolation", "read committed".to_owned()));
        settings.push(("tcp_keepalives_idle", seconds(PROBE_AFTER)));
        settings.push(("tcp_keepalives_interval", seconds(PROBE_EVERY)));
        settings.push(("tcp_keepalives_count", PROBES.to_string()));
        settings.push(("tcp_user_timeout", statement_timeout.as_millis().to_string()));
        if role == Role::Replica {
            settings.push(("default_transaction_read_only", "on".to_owned()));
        }
        render("SET", &settings)
    }

    /// Renders the statement that disables the statement timeout of a connection for appends, if
    /// the server has a synchronous standby.
    ///
    /// A procedure commits within its statement. If the statement is canceled while the commit
    /// waits for the standby, PostgreSQL reports the commit as done. So the procedure commits only
    /// if no timeout can cancel it. Otherwise the server commits at the end of the request, whose
    /// last bytes may still be under way while the log's lock is held.
    pub(crate) fn uncanceled_commits() -> &'static str {
        "SELECT set_config('statement_timeout', '0', false)
         WHERE current_setting('synchronous_standby_names') <> ''"
    }

    /// Renders the settings of an open transaction.
    pub(crate) fn local(&self) -> String {
        render("SET LOCAL", &self.0)
    }
}

/// Renders the start of a transaction. It names the isolation level, since the default may be
/// another one: each statement has to see everything that was committed before it (Lemma 2).
pub(crate) fn begin(read_only: bool, settings: Option<&Settings>) -> String {
    let mut text = "BEGIN ISOLATION LEVEL READ COMMITTED".to_owned();
    if read_only {
        text += " READ ONLY";
    }
    if let Some(settings) = settings {
        text += "; ";
        text += &settings.local();
    }
    text
}

fn render(set: &str, settings: &[(&str, String)]) -> String {
    let settings = settings.iter().map(|(name, value)| format!("{set} {name} = '{value}'"));
    settings.collect::<Vec<_>>().join("; ")
}

/// Adds a suffix to the name of the session.
pub(crate) const RENAME: &str =
    "SELECT set_config('application_name', current_setting('application_name') || $1, false)";

/// The idle time of a connection before the first TCP keepalive probe.
pub(crate) const PROBE_AFTER: Duration = Duration::from_secs(5);
/// The interval of the probes.
pub(crate) const PROBE_EVERY: Duration = Duration::from_secs(2);
/// The number of unanswered probes after which a connection is closed.
pub(crate) const PROBES: u32 = 3;

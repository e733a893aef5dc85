use std::time::Duration;

use super::lock::IDLE_TIMEOUT;
use super::plan::StatementPlan;
use crate::Role;

/// What statements run under, in order.
///
/// Functions are PostgreSQL's own, whatever schemas the database puts before them. Indexes return
/// everything: `gin_fuzzy_search_limit` would have them return a sample.
///
/// Reads are planned for their values, unless they are made for a plan that does not know them: any
/// other would read the whole log. To read it by the table is never best: what reads it all wants its
/// order, which the primary key has, and what does not has an index, whatever the planner believes
/// of a table that it has not looked at since it was small. Just-in-time compilation and parallel
/// workers cost more than any of these statements.
///
/// No transaction waits for this process, but for the moment of a decision under the log's lock; one
/// of which only a part has arrived must not hold the lock for long.
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

    /// Adds what only a connection can be set to that nobody else uses.
    ///
    /// A serializable default would fail on a replica. A transaction must not hold the lock whose
    /// client is gone without a word, and by their defaults servers notice that after two hours.
    /// What a client does not take it is allowed to leave as long as a statement may take: streams
    /// are read slowly.
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

    /// Renders what takes the statement timeout from a connection of appends, if the server has a
    /// synchronous standby.
    ///
    /// A procedure commits within its statement. If the statement is canceled while its commit waits for
    /// the standby, PostgreSQL answers the commit as done. So a procedure commits only if no timeout can
    /// cancel it; else the commit is left to the end of the request, of which the last bytes may still be
    /// on their way while the log's lock is held.
    pub(crate) fn uncanceled_commits() -> &'static str {
        "SELECT set_config('statement_timeout', '0', false)
         WHERE current_setting('synchronous_standby_names') <> ''"
    }

    /// Renders them for a transaction that is open.
    pub(crate) fn local(&self) -> String {
        render("SET LOCAL", &self.0)
    }
}

/// Renders the begin of a transaction. Its isolation is named, whatever the default is: each statement
/// has to see what was committed before it.
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

/// How long a peer may be silent before it is asked for a sign of life, how often it is, and how many
/// times.
pub(crate) const PROBE_AFTER: Duration = Duration::from_secs(5);
pub(crate) const PROBE_EVERY: Duration = Duration::from_secs(2);
pub(crate) const PROBES: u32 = 3;

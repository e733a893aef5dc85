use std::time::Duration;

use crate::sql::StatementPlan;
use crate::{Config, Pooler, Role, sql};

/// The settings of connections, and the statements that apply them: once for each session, or,
/// behind a pooler in transaction mode, in each transaction.
pub(super) struct SessionSettings {
    /// The kind of plan that sessions are set to at first.
    pub(super) plan: StatementPlan,
    /// The statements that a new connection runs first. `None` behind a pooler in transaction mode.
    pub(super) session: Option<String>,
    /// The settings of each transaction behind a pooler in transaction mode.
    transaction: Option<sql::Settings>,
    begin: String,
    begin_reading: String,
}

impl SessionSettings {
    pub(super) fn new(config: &Config, role: Role) -> Self {
        Self::with(config, role, StatementPlan::Custom, config.lock_timeout)
    }

    /// Returns the settings of connections that only append. Their statements have generic plans.
    pub(super) fn for_appends(config: &Config) -> Self {
        let lock_timeout = config.append_lock_timeout();
        let mut settings = Self::with(config, Role::Primary, StatementPlan::Generic, lock_timeout);
        if let Some(session) = &mut settings.session {
            *session += "; ";
            *session += sql::Settings::uncanceled_commits();
        }
        settings
    }

    fn with(config: &Config, role: Role, plan: StatementPlan, lock_timeout: Duration) -> Self {
        let settings = sql::Settings::new(plan, config.statement_timeout, lock_timeout);
        let (session, transaction) = match config.pooler {
            Pooler::None => (Some(settings.session(role, config.statement_timeout)), None),
            Pooler::Transaction => (None, Some(settings)),
        };
        let begin = sql::begin(false, transaction.as_ref());
        let begin_reading = sql::begin(true, transaction.as_ref());
        Self { plan, session, transaction, begin, begin_reading }
    }

    /// Returns whether other clients use the backend between transactions.
    pub(super) fn is_backend_shared(&self) -> bool {
        self.transaction.is_some()
    }

    /// Returns the statements that begin a transaction.
    pub(super) fn begin(&self) -> &str {
        &self.begin
    }

    /// Returns the statements that begin a read-only transaction.
    pub(super) fn begin_reading(&self) -> &str {
        &self.begin_reading
    }

    /// Returns the settings for a transaction that was not begun by [`begin`](Self::begin).
    pub(super) fn local(&self) -> Option<String> {
        self.transaction.as_ref().map(sql::Settings::local)
    }
}

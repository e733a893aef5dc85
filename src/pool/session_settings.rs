use crate::{Config, Pooler, Role, sql};

/// On which terms a connection is used: by nobody else, or by others between its transactions.
pub(super) struct SessionSettings {
    /// What the connection is set to at its start, where it is nobody else's.
    pub(super) session: Option<String>,
    /// What a transaction of somebody else's process is set to.
    settings: Option<sql::Settings>,
    begin: String,
    begin_reading: String,
}

impl SessionSettings {
    pub(super) fn new(config: &Config, role: Role) -> Self {
        let settings = sql::Settings::new(config.statement_timeout, config.lock_timeout);
        Self::of(config, role, settings)
    }

    /// Makes those of connections that only append: what they run is planned once.
    pub(super) fn for_appends(config: &Config) -> Self {
        let settings = sql::Settings::new(config.statement_timeout, config.append_lock_timeout());
        let mut terms = Self::of(config, Role::Primary, settings.planned_once());
        if let Some(session) = &mut terms.session {
            *session += "; ";
            *session += sql::Settings::uncanceled_commits();
        }
        terms
    }

    fn of(config: &Config, role: Role, settings: sql::Settings) -> Self {
        let (session, settings) = match config.pooler {
            Pooler::None => (Some(settings.session(role, config.statement_timeout)), None),
            Pooler::Transaction => (None, Some(settings)),
        };
        let begin = sql::begin(false, settings.as_ref());
        let begin_reading = sql::begin(true, settings.as_ref());
        Self { session, settings, begin, begin_reading }
    }

    /// Returns whether others use the server's process between transactions.
    pub(super) fn are_shared(&self) -> bool {
        self.settings.is_some()
    }

    /// Returns the begin of a transaction.
    pub(super) fn begin(&self) -> &str {
        &self.begin
    }

    /// Returns the begin of a transaction in which the server refuses writes.
    pub(super) fn begin_reading(&self) -> &str {
        &self.begin_reading
    }

    /// Returns what a transaction that was begun otherwise has to be set to.
    pub(super) fn local(&self) -> Option<String> {
        self.settings.as_ref().map(sql::Settings::local)
    }
}

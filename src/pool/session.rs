use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, pin_mut};
use postgres_types::Type;
use tokio_postgres::{Client, Row, RowStream};

use super::log_identity::Timeline;
use super::session_settings::SessionSettings;
use super::session_state::SessionState;
use crate::error::{Circumstances, Phase};
use crate::server::{Server, ends_connection};
use crate::sql::{self, StatementPlan};
use crate::{Error, Role};

/// The limit of prepared statements per connection. Most programs use few shapes of filters; a
/// program that generates ever new shapes must not exhaust the server's memory.
const MAX_PREPARED: usize = 128;
/// The length in bytes above which a statement is not prepared, but sent as text each time.
pub(super) const MAX_PREPARED_TEXT: usize = 8 << 10;

/// The SQLSTATEs of a prepared statement that the server does not know (any more), or that would
/// return other columns than before.
pub(super) const STALE: [&str; 2] = ["26000", "0A000"];

/// A connection to a server, with its prepared statements.
pub(crate) struct Session {
    pub(super) client: Arc<Client>,
    pub(super) server: Arc<Server>,
    id: ConnectionId,
    pub(super) settings: Arc<SessionSettings>,
    pub(super) prepared: HashMap<String, Prepared>,
    /// Counts the uses of prepared statements, to find the least recently used one.
    uses: u64,
    /// The kind of plan that the session is set to; `None` if that is unknown.
    pub(super) plan: Option<StatementPlan>,
    pub(super) state: SessionState,
    statement_timeout: Duration,
    request_sent_at: Instant,
    timeline: Timeline,
}

pub(super) struct Prepared {
    statement: tokio_postgres::Statement,
    /// The value of [`Session::uses`] at the last use.
    last_use: u64,
    /// The number of further reads of this shape that skip the statement for few events.
    pub(super) skips: u32,
}

/// The identity of a connection within this process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct ConnectionId(u64);

impl ConnectionId {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A statement to send: the name of a prepared statement, or none if its text is sent.
pub(crate) enum StatementHandle {
    Named(tokio_postgres::Statement),
    Unnamed,
}

impl Session {
    pub(super) fn new(
        client: Client,
        server: Arc<Server>,
        statement_timeout: Duration,
        settings: Arc<SessionSettings>,
        timeline: Timeline,
    ) -> Self {
        Self {
            client: Arc::new(client),
            server,
            id: ConnectionId::next(),
            prepared: HashMap::new(),
            uses: 0,
            plan: Some(settings.plan),
            settings,
            state: SessionState::default(),
            statement_timeout,
            request_sent_at: Instant::now(),
            timeline,
        }
    }

    pub(crate) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Returns the identifier of the server's cluster.
    pub(crate) fn system(&self) -> i64 {
        self.timeline.system()
    }

    /// Returns the connection's identity. `None` behind a pooler in transaction mode, which may run
    /// each transaction of the connection in another backend.
    pub(crate) fn own_id(&self) -> Option<ConnectionId> {
        (!self.settings.is_backend_shared()).then_some(self.id)
    }

    /// Returns the statements that begin a transaction which appends.
    pub(crate) fn begin_text(&self) -> &str {
        self.settings.begin()
    }

    /// Returns the settings for a transaction that was not begun by
    /// [`begin_text`](Self::begin_text).
    pub(crate) fn local_settings(&self) -> Option<String> {
        self.settings.local()
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Returns a handle to the client, for a request that is pipelined with others.
    pub(crate) fn shared_client(&self) -> Arc<Client> {
        self.client.clone()
    }

    pub(crate) fn client_mut(&mut self) -> &mut Client {
        Arc::get_mut(&mut self.client).expect("no request is under way")
    }

    /// Returns whether the connection cannot be reused: it is closed or discarded, in a
    /// transaction, still receives rows that are no longer read, or leads to a former primary.
    pub(crate) fn is_spent(&self) -> bool {
        !self.state.is_idle() || self.client.is_closed() || self.timeline.superseded_by().is_some()
    }

    /// Starts to measure the time of the request that is sent next. The server starts to measure
    /// later, so it never cancels a statement for its timeout before this clock shows the timeout.
    pub(crate) fn start_clock(&mut self) -> Instant {
        self.request_sent_at = Instant::now();
        self.request_sent_at
    }

    /// Sets the time at which the request was sent whose answer is handled next. Later requests may
    /// have been sent since.
    pub(crate) fn restore_clock(&mut self, sent_at: Instant) {
        self.request_sent_at = sent_at;
    }

    pub(super) async fn ping(&self) -> Result<(), Error> {
        self.client
            .batch_execute("")
            .await
            .map_err(|error| self.server.error(error, self.server.at(Phase::Read)))
    }

    /// Adds a suffix to the name by which administrators see the connection. Does nothing behind a
    /// pooler in transaction mode, where the connection has no backend of its own.
    pub(crate) async fn rename(&self, suffix: &str) -> Result<(), Error> {
        if self.settings.is_backend_shared() {
            return Ok(());
        }
        let renamed = self.client.query_typed(sql::RENAME, &[(&suffix, Type::TEXT)]).await;
        let failed = |error| self.server.error(error, self.server.at(Phase::Connect));
        renamed.map(drop).map_err(failed)
    }

    /// Prepares a statement, unless its text is so long that it is sent each time.
    pub(crate) async fn prepare(&mut self, text: &str) -> Result<StatementHandle, Error> {
        if self.settings.is_backend_shared() || text.len() > MAX_PREPARED_TEXT {
            return Ok(StatementHandle::Unnamed);
        }
        self.uses += 1;
        if let Some(prepared) = self.prepared.get_mut(text) {
            prepared.last_use = self.uses;
            return Ok(StatementHandle::Named(prepared.statement.clone()));
        }
        if self.prepared.len() >= MAX_PREPARED {
            let oldest = self.prepared.values().map(|prepared| prepared.last_use).min();
            self.prepared.retain(|_, prepared| Some(prepared.last_use) != oldest);
        }
        // If this future is dropped here, the server may keep a statement that `prepared` does not
        // list. So the connection is not reused then.
        self.start_clock();
        self.state.start_reading();
        let statement = self.client.prepare(text).await;
        self.state.finish_reading();
        let statement = statement.map_err(|error| self.failed(error))?;
        let prepared = Prepared { statement: statement.clone(), last_use: self.uses, skips: 0 };
        self.prepared.insert(text.to_owned(), prepared);
        Ok(StatementHandle::Named(statement))
    }

    /// Returns whether a statement is prepared.
    pub(crate) fn has_prepared(&self, text: &str) -> bool {
        self.prepared.contains_key(text)
    }

    /// Marks the answer of a read as received completely.
    pub(crate) fn finish_reading(&mut self) {
        self.state.finish_reading();
    }

    /// Marks the connection as in a transaction, before the transaction is opened. If the
    /// connection is dropped before [`leave_transaction`](Self::leave_transaction), it is closed.
    pub(crate) fn enter_transaction(&mut self) {
        self.state.enter_transaction(self.statement_timeout);
    }

    /// Marks the connection as in a transaction whose statements have this timeout.
    pub(crate) fn set_transaction_timeout(&mut self, statement_timeout: Duration) {
        self.state.enter_transaction(statement_timeout);
    }

    /// Marks the transaction as ended.
    pub(crate) fn leave_transaction(&mut self) {
        self.state.leave_transaction();
    }

    /// Prevents the reuse of the connection, because an answer is outstanding that is no longer
    /// awaited.
    pub(crate) fn discard(&mut self) {
        self.state.discard();
    }

    /// Records the failure of a request, and returns its error.
    pub(crate) fn failed(&mut self, error: tokio_postgres::Error) -> Error {
        self.state.finish_reading();
        self.fail(error, self.server.at(Phase::Read))
    }

    /// Records the failure of an append that had been sent, and returns its error. If the outcome
    /// is unknown, the caller adds the ids of the events.
    pub(crate) fn failed_append(&mut self, error: tokio_postgres::Error) -> Error {
        self.fail(error, self.server.at(Phase::Append).sent(true))
    }

    pub(super) fn fail(
        &mut self,
        error: tokio_postgres::Error,
        circumstances: Circumstances,
    ) -> Error {
        let allowed = self.state.transaction_timeout().unwrap_or(self.statement_timeout);
        let overdue = self.request_sent_at.elapsed() >= allowed;
        let replaced = self.server.role == Role::Primary
            && error.code().is_some_and(|code| code.code() == "25006");
        if replaced || ends_connection(&error) {
            self.state.discard();
        }
        if error.code().is_some_and(|code| STALE.contains(&code.code())) {
            self.prepared.clear();
        }
        self.server.error(error, circumstances.overdue(overdue))
    }
}

/// Sends a statement and returns its rows, which are not received yet. The whole request is written
/// at the first poll.
pub(crate) async fn send(
    client: &Client,
    handle: &StatementHandle,
    statement: &sql::Statement<'_>,
) -> Result<RowStream, tokio_postgres::Error> {
    match handle {
        StatementHandle::Named(named) => client.query_raw(named, &statement.params).await,
        StatementHandle::Unnamed => {
            client.query_typed_raw(&statement.text, statement.typed_params()).await
        }
    }
}

/// Sends a statement, receives its answer to the end, and returns the last row. The whole request
/// is written at the first poll.
pub(crate) async fn fetch_row(
    client: &Client,
    handle: &StatementHandle,
    statement: &sql::Statement<'_>,
) -> Result<Option<Row>, tokio_postgres::Error> {
    last_row(send(client, handle, statement).await).await
}

/// Receives an answer to its end. Returns the last row.
pub(crate) async fn last_row(
    rows: Result<RowStream, tokio_postgres::Error>,
) -> Result<Option<Row>, tokio_postgres::Error> {
    let rows = rows?;
    pin_mut!(rows);
    let mut last = None;
    while let Some(row) = rows.next().await {
        last = Some(row?);
    }
    Ok(last)
}

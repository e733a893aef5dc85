use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, pin_mut};
use tokio_postgres::{Client, Row, RowStream};

use super::session_settings::SessionSettings;
use crate::error::{Circumstances, Phase};
use crate::server::{Server, ends_connection};
use crate::sql::{self, Planning};
use crate::{Error, Role};

/// How many statements a connection keeps prepared. A program has a few shapes of filter; one that
/// makes up shapes without end must not fill the server's memory.
const MAX_PREPARED: usize = 128;
/// The longest text that is worth keeping prepared, in bytes.
pub(super) const MAX_PREPARED_TEXT: usize = 8 << 10;

/// What the server says where it does not know a prepared statement (any more), and where that would
/// answer with other columns than before.
pub(super) const STALE: [&str; 2] = ["26000", "0A000"];

/// A connection, with the statements that are prepared on it.
pub(crate) struct Session {
    pub(super) client: Arc<Client>,
    pub(super) server: Arc<Server>,
    id: ConnectionId,
    pub(super) terms: Arc<SessionSettings>,
    pub(super) prepared: HashMap<String, Prepared>,
    /// How many times a prepared statement was asked for, to tell which one is used least.
    asked: u64,
    /// How the server plans statements now; `None` where that is not known.
    pub(super) planning: Option<Planning>,
    pub(super) reading: bool,
    /// While a transaction is open: how long each of its statements may take.
    held: Option<Duration>,
    /// Whether the connection ended, or leads to a server that is not the right one any more.
    spent: bool,
    statement_timeout: Duration,
    begun: Instant,
}

pub(super) struct Prepared {
    statement: tokio_postgres::Statement,
    /// When it was asked for last.
    asked: u64,
    /// How many reads of this shape are not to be taken for reads of few events.
    pub(super) many: u32,
}

/// Identifies a connection among all that this process makes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct ConnectionId(u64);

impl ConnectionId {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// How a statement is sent: by its name, or whole.
pub(crate) enum StatementHandle {
    Named(tokio_postgres::Statement),
    Unnamed,
}

impl Session {
    pub(super) fn new(
        client: Client,
        server: Arc<Server>,
        statement_timeout: Duration,
        terms: Arc<SessionSettings>,
    ) -> Self {
        Self {
            client: Arc::new(client),
            server,
            id: ConnectionId::next(),
            terms,
            prepared: HashMap::new(),
            asked: 0,
            planning: Some(Planning::ByValue),
            reading: false,
            held: None,
            spent: false,
            statement_timeout,
            begun: Instant::now(),
        }
    }

    pub(crate) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Returns what identifies the connection, unless a pooler lets each of its transactions go to
    /// whichever server it likes.
    pub(crate) fn own_id(&self) -> Option<ConnectionId> {
        (!self.terms.are_shared()).then_some(self.id)
    }

    /// Returns the begin of a transaction that appends.
    pub(crate) fn begin_text(&self) -> &str {
        self.terms.begin()
    }

    /// Returns what a transaction that was begun otherwise has to be set to.
    pub(crate) fn local_settings(&self) -> Option<String> {
        self.terms.local()
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the client, for a request that is not waited for yet when the next one is sent.
    pub(crate) fn shared_client(&self) -> Arc<Client> {
        self.client.clone()
    }

    pub(crate) fn client_mut(&mut self) -> &mut Client {
        Arc::get_mut(&mut self.client).expect("nothing that was sent is waited for")
    }

    /// Returns whether the connection cannot be used again: it is closed, in a transaction, leads to
    /// a primary that takes no writes any more, or is still busy with rows that nobody waits for any
    /// more.
    pub(crate) fn is_spent(&self) -> bool {
        self.reading || self.is_lost()
    }

    /// Returns whether nobody can say what the server's process at the other end does now.
    pub(super) fn is_lost(&self) -> bool {
        self.held.is_some() || self.spent || self.client.is_closed()
    }

    /// Notes that a request is about to be sent. The server's clock for it starts later than this
    /// one, so that a statement is never canceled for its time before that time has passed here.
    pub(crate) fn start_clock(&mut self) -> Instant {
        self.begun = Instant::now();
        self.begun
    }

    /// Notes that what is answered next was sent then, and others after it.
    pub(crate) fn restore_clock(&mut self, begun: Instant) {
        self.begun = begun;
    }

    pub(super) async fn ping(&self) -> Result<(), Error> {
        self.client
            .batch_execute("")
            .await
            .map_err(|error| self.server.error(error, self.server.at(Phase::Read)))
    }

    /// Prepares a statement, unless it is so long that it is better sent whole each time.
    pub(crate) async fn prepare(&mut self, text: &str) -> Result<StatementHandle, Error> {
        if self.terms.are_shared() || text.len() > MAX_PREPARED_TEXT {
            return Ok(StatementHandle::Unnamed);
        }
        self.asked += 1;
        if let Some(prepared) = self.prepared.get_mut(text) {
            prepared.asked = self.asked;
            return Ok(StatementHandle::Named(prepared.statement.clone()));
        }
        if self.prepared.len() >= MAX_PREPARED {
            let least = self.prepared.values().map(|prepared| prepared.asked).min();
            self.prepared.retain(|_, prepared| Some(prepared.asked) != least);
        }
        // Dropped while it waits, the statement would stay on the server without a name here.
        self.start_clock();
        self.reading = true;
        let statement = self.client.prepare(text).await;
        self.reading = false;
        let statement = statement.map_err(|error| self.failed(error))?;
        let prepared = Prepared { statement: statement.clone(), asked: self.asked, many: 0 };
        self.prepared.insert(text.to_owned(), prepared);
        Ok(StatementHandle::Named(statement))
    }

    /// Returns whether a statement is prepared.
    pub(crate) fn has_prepared(&self, text: &str) -> bool {
        self.prepared.contains_key(text)
    }

    /// Notes that the last row has come.
    pub(crate) fn finish_reading(&mut self) {
        self.reading = false;
    }

    /// Notes that a transaction is about to be opened. Until it is [released](Self::release) the
    /// connection is closed if it is dropped.
    pub(crate) fn enter_transaction(&mut self) {
        self.held = Some(self.statement_timeout);
    }

    /// Notes the same of a transaction whose statements may take so long each.
    pub(crate) fn set_transaction_timeout(&mut self, statement_timeout: Duration) {
        self.held = Some(statement_timeout);
    }

    /// Notes that no transaction is open any more.
    pub(crate) fn leave_transaction(&mut self) {
        self.held = None;
    }

    /// Notes that nobody knows when the server will answer, so that it is not to be used again.
    pub(crate) fn discard(&mut self) {
        self.spent = true;
    }

    /// Notes that the server refused, or that the connection broke.
    pub(crate) fn failed(&mut self, error: tokio_postgres::Error) -> Error {
        self.reading = false;
        self.fail(error, self.server.at(Phase::Read))
    }

    /// Says what the failure of an append that had been sent means; if its outcome is unknown, the
    /// events have yet to be named.
    pub(crate) fn failed_append(&mut self, error: tokio_postgres::Error) -> Error {
        self.fail(error, self.server.at(Phase::Append).sent(true))
    }

    pub(super) fn fail(
        &mut self,
        error: tokio_postgres::Error,
        circumstances: Circumstances,
    ) -> Error {
        let overdue = self.begun.elapsed() >= self.held.unwrap_or(self.statement_timeout);
        let replaced = self.server.role == Role::Primary
            && error.code().is_some_and(|code| code.code() == "25006");
        self.spent |= replaced || ends_connection(&error);
        if error.code().is_some_and(|code| STALE.contains(&code.code())) {
            self.prepared.clear();
        }
        self.server.error(error, circumstances.overdue(overdue))
    }
}

/// Sends a statement whole at its first poll.
pub(crate) async fn send(
    client: &Client,
    form: &StatementHandle,
    statement: &sql::Statement<'_>,
) -> Result<RowStream, tokio_postgres::Error> {
    match form {
        StatementHandle::Named(named) => client.query_raw(named, &statement.params).await,
        StatementHandle::Unnamed => {
            client.query_typed_raw(&statement.text, statement.typed_params()).await
        }
    }
}

/// Sends a statement whole at its first poll, and waits for its end and its last row.
pub(crate) async fn sent(
    client: &Client,
    form: &StatementHandle,
    statement: &sql::Statement<'_>,
) -> Result<Option<Row>, tokio_postgres::Error> {
    last_row(send(client, form, statement).await).await
}

/// Waits for the end of an answer. Returns its last row.
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

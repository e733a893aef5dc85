use std::sync::Arc;
use std::time::Duration;

use bb8::ManageConnection;
use bb8_postgres::PostgresConnectionManager;
use tokio::task::AbortHandle;
use tokio_postgres::{Client, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::log_identity::{LogIdentity, Timeline};
use super::session::Session;
use super::session_settings::SessionSettings;
use crate::address::{Address, TargetSession};
use crate::error::{ConnectionFailure, Phase, Reason};
use crate::server::Server;
use crate::tls::{Connector, TrackedConnector};
use crate::{Class, Config, Error, Role, sql};

/// The oldest major version of PostgreSQL that the crate supports.
const OLDEST_SERVER: u32 = 14;

/// The login to a server: connects, applies the session settings, and refuses unsuitable servers.
pub(super) struct Login {
    connector: Connector,
    settings: Arc<SessionSettings>,
    statement_timeout: Duration,
    identity: Arc<LogIdentity>,
}

/// A failed login.
pub(super) struct Refusal {
    pub(super) error: Error,
    /// Whether a login without encryption may succeed: the TLS handshake failed, or the server
    /// rejects the role on encrypted connections.
    pub(super) may_succeed_unencrypted: bool,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { error, may_succeed_unencrypted: false }
    }
}

impl Login {
    pub(super) fn new(
        config: &Config,
        address: &Address,
        settings: Arc<SessionSettings>,
        identity: Arc<LogIdentity>,
    ) -> Result<Self, Error> {
        let connector = Connector::new(config, address)?;
        Ok(Self { connector, settings, statement_timeout: config.statement_timeout, identity })
    }

    /// Returns the same login with other session settings.
    pub(super) fn with_settings(&self, settings: Arc<SessionSettings>) -> Self {
        let (connector, statement_timeout) = (self.connector.clone(), self.statement_timeout);
        Self { connector, settings, statement_timeout, identity: self.identity.clone() }
    }

    pub(super) fn identity(&self) -> &Arc<LogIdentity> {
        &self.identity
    }

    /// Connects to the single address in the driver's settings.
    pub(super) async fn connect(
        &self,
        server: &Arc<Server>,
        driver: tokio_postgres::Config,
        target: TargetSession,
    ) -> Result<Session, Refusal> {
        let (connector, handshake_started) = self.connector.tracked();
        let opened = open(driver, connector, target).await;
        let (client, task) = opened.map_err(|error| Refusal {
            may_succeed_unencrypted: handshake_started.get() && may_succeed_unencrypted(&error),
            error: connect_error(server, target, error),
        })?;
        if let Some(settings) = &self.settings.session {
            let applied = client.batch_execute(settings).await;
            applied.map_err(|error| connect_error(server, target, error))?;
        }
        let timeline = self.check(&client, server, target).await?;
        if let Some(task) = task {
            timeline.limit(&task);
        }
        let (server, settings) = (server.clone(), self.settings.clone());
        Ok(Session::new(client, server, self.statement_timeout, settings, timeline))
    }

    /// Refuses a server on which the store cannot keep its promises, or that is not in the state
    /// that `target_session_attrs` asks for; another log; and a primary that was superseded.
    async fn check(
        &self,
        client: &Client,
        server: &Server,
        target: TargetSession,
    ) -> Result<Timeline, Error> {
        let expected = self.identity.id();
        let facts = sql::server_facts(expected.map(|_| server.log()));
        let answer = client.simple_query(&facts).await;
        let answer = answer.map_err(|error| connect_error(server, target, error))?;
        let row = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let fact = |column| row.and_then(|row| row.get(column)).unwrap_or_default();
        check_kind(server, target, fact)?;
        let found = fact(6).parse().ok();
        if let Some((expected, found)) = expected.zip(found).filter(|(one, other)| one != other) {
            return Err(Error::OtherLog { server: server.to_string(), expected, found });
        }
        let number = fact(5).parse().unwrap_or(0);
        let system = fact(7).parse().unwrap_or(0);
        let timeline = match target.is_primary() {
            true => Timeline::of_primary(&self.identity, server, system, number),
            false => Timeline::of_any(system, number),
        };
        match timeline.superseded_by() {
            Some(newest) => Err(server.superseded(timeline.number(), newest)),
            None => Ok(timeline),
        }
    }
}

/// Opens a connection. Returns the task of a connection to a primary, which ends once another
/// server was promoted. bb8-postgres returns none.
async fn open(
    driver: tokio_postgres::Config,
    connector: TrackedConnector<MakeRustlsConnect>,
    target: TargetSession,
) -> Result<(Client, Option<AbortHandle>), tokio_postgres::Error> {
    if !target.is_primary() {
        let client = PostgresConnectionManager::new(driver, connector).connect().await?;
        return Ok((client, None));
    }
    let (client, connection) = driver.connect(connector).await?;
    // Its error reaches the client too.
    let task = tokio::spawn(async move { connection.await.ok() });
    Ok((client, Some(task.abort_handle())))
}

fn connect_error(server: &Server, target: TargetSession, error: tokio_postgres::Error) -> Error {
    let error = server.error(error, server.at(Phase::Connect));
    match error {
        // The driver has the same error for `read-only` and `read-write`.
        Error::UnsuitableServer { .. } if target == TargetSession::ReadOnly => {
            wrong_target(server, target)
        }
        error => error,
    }
}

/// Returns whether a login that failed after the start of a handshake may succeed without
/// encryption.
fn may_succeed_unencrypted(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        Some(code) => code.code() == "28000",
        None => match ConnectionFailure::of(error) {
            ConnectionFailure::Broken | ConnectionFailure::Denied | ConnectionFailure::Garbled => {
                true
            }
            ConnectionFailure::ReadOnly
            | ConnectionFailure::TimedOut
            | ConnectionFailure::Unreachable => false,
        },
    }
}

/// Refuses a server on which the store cannot keep its promises, or that is not in the state that
/// `target_session_attrs` asks for.
fn check_kind<'a>(
    server: &Server,
    target: TargetSession,
    fact: impl Fn(usize) -> &'a str,
) -> Result<(), Error> {
    let unsuitable = |reason: String| Error::UnsuitableServer {
        server: server.to_string(),
        reason: reason.into(),
        class: Class::Permanent(Reason::Resource),
    };
    let version: u32 = fact(0).parse().unwrap_or(0);
    if version / 10_000 < OLDEST_SERVER {
        let version = fact(1);
        return Err(unsuitable(format!(
            "it is PostgreSQL {version}, the oldest supported is {OLDEST_SERVER}"
        )));
    }
    let encoding = fact(2);
    if encoding != "UTF8" {
        return Err(unsuitable(format!("its encoding is {encoding}, events need UTF8")));
    }
    let (is_standby, is_read_only) = (fact(3) == "t", fact(4) == "on");
    if server.role == Role::Primary && (is_standby || is_read_only) {
        return Err(server.accepts_no_writes());
    }
    if (target == TargetSession::Standby) != is_standby
        && matches!(target, TargetSession::Primary | TargetSession::Standby)
    {
        return Err(wrong_target(server, target));
    }
    Ok(())
}

fn wrong_target(server: &Server, target: TargetSession) -> Error {
    let reason = match target {
        TargetSession::Primary => {
            "it is a standby, and the address asks for target_session_attrs=primary"
        }
        TargetSession::ReadOnly => {
            "it accepts writes, and the address asks for target_session_attrs=read-only"
        }
        _ => "it is not a standby, and the address asks for one by target_session_attrs",
    };
    Error::UnsuitableServer {
        server: server.to_string(),
        reason: reason.into(),
        class: Class::Transient,
    }
}

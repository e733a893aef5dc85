use std::sync::Arc;
use std::time::Duration;

use bb8::ManageConnection;
use bb8_postgres::PostgresConnectionManager;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::session::Session;
use super::session_settings::SessionSettings;
use crate::address::Demand;
use crate::error::{ConnectionFailure, Phase, Reason};
use crate::server::Server;
use crate::{Class, Config, Error, Role, tls};

/// The oldest major version of PostgreSQL that the crate supports.
const OLDEST_SERVER: u32 = 14;

/// Logs in to servers, sets connections up, and refuses servers that cannot be used.
pub(super) struct Login {
    connector: tls::Connector,
    terms: Arc<SessionSettings>,
    statement_timeout: Duration,
}

/// A login that failed.
pub(super) struct Refusal {
    pub(super) error: Error,
    /// Whether it may succeed in plain text: the handshake of TLS failed, or the server does not let
    /// the role in over an encrypted connection.
    pub(super) is_of_encryption: bool,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { error, is_of_encryption: false }
    }
}

impl Login {
    pub(super) fn new(config: &Config, terms: Arc<SessionSettings>) -> Result<Self, Error> {
        let connector = tls::connector(config.tls.as_ref())?;
        Ok(Self { connector, terms, statement_timeout: config.statement_timeout })
    }

    /// Connects to the one address that the driver's settings name.
    pub(super) async fn to(
        &self,
        server: &Arc<Server>,
        driver: tokio_postgres::Config,
        demand: Demand,
    ) -> Result<Session, Refusal> {
        let (connector, is_encrypted) = self.connector.watched();
        let postgres = PostgresConnectionManager::new(driver, connector);
        let client = postgres.connect().await.map_err(|error| Refusal {
            is_of_encryption: is_encrypted.get() && is_of_encryption(&error),
            error: refused(server, demand, error),
        })?;
        if let Some(settings) = &self.terms.session {
            let set = client.batch_execute(settings).await;
            set.map_err(|error| refused(server, demand, error))?;
        }
        check(&client, server, demand).await?;
        let (server, terms) = (server.clone(), self.terms.clone());
        Ok(Session::new(client, server, self.statement_timeout, terms))
    }
}

fn refused(server: &Server, demand: Demand, error: tokio_postgres::Error) -> Error {
    let refused = server.error(error, server.at(Phase::Connect));
    match refused {
        // The driver says the same of either demand that it knows.
        Error::UnsuitableServer { .. } if demand == Demand::ReadOnly => unwanted(server, demand),
        refused => refused,
    }
}

/// Returns whether what failed on an encrypted connection may succeed on another one.
fn is_of_encryption(error: &tokio_postgres::Error) -> bool {
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

/// Refuses a server that the store's promises cannot be kept on, or that is not the one that was asked
/// for.
async fn check(client: &Client, server: &Server, demand: Demand) -> Result<(), Error> {
    let unfit = |reason: String| Error::UnsuitableServer {
        server: server.to_string(),
        reason: reason.into(),
        class: Class::Permanent(Reason::Resource),
    };
    let answer = client.simple_query(FACTS).await;
    let answer = answer.map_err(|error| refused(server, demand, error))?;
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let fact = |column| row.and_then(|row| row.get(column)).unwrap_or_default();

    let version: u32 = fact(0).parse().unwrap_or(0);
    if version / 10_000 < OLDEST_SERVER {
        let version = fact(1);
        return Err(unfit(format!(
            "it is PostgreSQL {version}, the oldest supported is {OLDEST_SERVER}"
        )));
    }
    let encoding = fact(2);
    if encoding != "UTF8" {
        return Err(unfit(format!("its encoding is {encoding}, events need UTF8")));
    }
    let (is_standby, is_read_only) = (fact(3) == "t", fact(4) == "on");
    if server.role == Role::Primary && (is_standby || is_read_only) {
        return Err(server.takes_no_writes());
    }
    if (demand == Demand::Standby) != is_standby
        && matches!(demand, Demand::Primary | Demand::Standby)
    {
        return Err(unwanted(server, demand));
    }
    Ok(())
}

fn unwanted(server: &Server, demand: Demand) -> Error {
    let reason = match demand {
        Demand::Primary => "it is a standby, and the address asks for target_session_attrs=primary",
        Demand::ReadOnly => "it takes writes, and the address asks for one that is read-only",
        _ => "it is no standby, and the address asks for one by target_session_attrs",
    };
    Error::UnsuitableServer {
        server: server.to_string(),
        reason: reason.into(),
        class: Class::Transient,
    }
}

/// What is asked of each new connection.
const FACTS: &str =
    "SELECT current_setting('server_version_num'), current_setting('server_version'),
     current_setting('server_encoding'), pg_is_in_recovery(),
     current_setting('default_transaction_read_only')";

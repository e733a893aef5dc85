use std::sync::Arc;
use std::time::Duration;

use bb8::{ErrorSink, ManageConnection};
use bb8_postgres::PostgresConnectionManager;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::{Client, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::session::Session;
use super::terms::Terms;
use crate::error::{BoxError, cause};
use crate::server::Server;
use crate::{Class, Config, ConnectionFailure, Error, Failure, Place, Reason, Role, sql, tls};

/// The oldest server that the crate is made for, as `server_version_num` counts.
const OLDEST_SERVER: u32 = 14_00_00;

/// Makes connections to one server, sets them up and turns away servers that cannot be used.
#[derive(Clone)]
pub(super) struct Manager {
    postgres: PostgresConnectionManager<MakeRustlsConnect>,
    server: Arc<Server>,
    terms: Arc<Terms>,
    max_connections: u32,
    connect_timeout: Duration,
    statement_timeout: Duration,
    attempts: Sink,
}

/// What came of the attempts to make a connection.
#[derive(Debug, Default)]
struct Attempts {
    failure: Option<Error>,
    /// Whether the last attempt failed.
    failing: bool,
}

/// Where the pool leaves what failed.
///
/// It does so when it has given the attempt up. Who is told earlier, and asks for a connection at
/// once, has the pool believe that one is under way.
#[derive(Clone, Debug, Default)]
struct Sink(Arc<watch::Sender<Attempts>>);

impl ErrorSink<Error> for Sink {
    fn sink(&self, error: Error) {
        self.0.send_replace(Attempts { failure: Some(error), failing: true });
    }

    fn boxed_clone(&self) -> Box<dyn ErrorSink<Error>> {
        Box::new(self.clone())
    }
}

/// Hears of each connection that cannot be made from now on.
pub(super) struct Failures(watch::Receiver<Attempts>);

impl Failures {
    /// Waits for a connection that cannot be made.
    pub(super) async fn next(&mut self) -> Error {
        while self.0.changed().await.is_ok() {
            if let Some(error) = &self.0.borrow_and_update().failure {
                return error.clone();
            }
        }
        // Nobody makes connections any more.
        std::future::pending().await
    }
}

impl Manager {
    pub(super) fn new(
        config: &Config,
        address: &tokio_postgres::Config,
        connector: MakeRustlsConnect,
        server: Arc<Server>,
    ) -> Self {
        let mut address = address.clone();
        tls::apply(config.tls.as_ref(), &mut address);
        address.connect_timeout(config.connect_timeout);
        if server.role == Role::Primary && address.get_hosts().len() > 1 {
            // Of several hosts the one that takes writes is the primary, also after a promotion.
            address.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        if address.get_keepalives_idle() == UNSET_KEEPALIVES_IDLE {
            address.keepalives_idle(sql::PROBE_AFTER);
        }
        if address.get_keepalives_interval().is_none() {
            address.keepalives_interval(sql::PROBE_EVERY);
        }
        if address.get_keepalives_retries().is_none() {
            address.keepalives_retries(sql::PROBES);
        }
        if address.get_application_name().is_none() {
            address.application_name(format!("eddyline {}", server.role));
        }
        Self {
            postgres: PostgresConnectionManager::new(address, connector),
            terms: Arc::new(Terms::new(config, server.role)),
            max_connections: config.max_connections,
            server,
            connect_timeout: config.connect_timeout,
            statement_timeout: config.statement_timeout,
            attempts: Sink::default(),
        }
    }

    /// Makes connections that only append: what they run is planned once, and not for its values.
    pub(super) fn for_appends(
        config: &Config,
        address: &tokio_postgres::Config,
        connector: MakeRustlsConnect,
        server: Arc<Server>,
    ) -> Self {
        let mut manager = Self::new(config, address, connector, server);
        manager.max_connections = super::MAX_APPEND_CONNECTIONS;
        manager.terms = Arc::new(Terms::for_appends(config));
        manager
    }

    pub(super) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    pub(super) fn max_connections(&self) -> u32 {
        self.max_connections
    }

    /// Returns where the pool leaves what failed.
    pub(super) fn sink(&self) -> Box<dyn ErrorSink<Error>> {
        self.attempts.boxed_clone()
    }

    /// Begins to listen for connections that cannot be made.
    pub(super) fn failures(&self) -> Failures {
        Failures(self.attempts.0.subscribe())
    }

    /// Returns why the last connection could not be made, if it could not.
    pub(super) fn last_failure(&self) -> Option<Error> {
        let attempts = self.attempts.0.borrow();
        attempts.failure.clone().filter(|_| attempts.failing)
    }

    /// Says that a connection was not made in time.
    pub(super) fn timed_out(&self, elapsed: impl Into<BoxError>) -> Error {
        let failure = Failure::Connection(ConnectionFailure::TimedOut);
        Error::Unreachable {
            server: self.server.to_string(),
            class: Class::of(failure, self.server.at(Place::Connect)),
            source: cause(elapsed),
        }
    }

    /// Makes a connection, within the timeout.
    pub(super) async fn attempt(&self) -> Result<Session, Error> {
        self.in_time(self.open()).await
    }

    /// Waits for a connection, or for what is asked of a new one.
    pub(super) async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        match timeout(self.connect_timeout, answer).await {
            Ok(answer) => answer,
            Err(elapsed) => Err(self.timed_out(elapsed)),
        }
    }

    async fn open(&self) -> Result<Session, Error> {
        let client = self.postgres.connect().await.map_err(|error| self.refused(error))?;
        if let Some(settings) = &self.terms.session {
            client.batch_execute(settings).await.map_err(|error| self.refused(error))?;
        }
        self.check(&client).await?;
        let terms = self.terms.clone();
        Ok(Session::new(client, self.server.clone(), self.statement_timeout, terms))
    }

    fn refused(&self, error: tokio_postgres::Error) -> Error {
        self.server.error(error, self.server.at(Place::Connect))
    }

    /// Refuses a server that the store's promises cannot be kept on.
    async fn check(&self, client: &Client) -> Result<(), Error> {
        let unfit = |reason: String| Error::UnfitServer {
            server: self.server.to_string(),
            reason: reason.into(),
            class: Class::Permanent(Reason::Resource),
        };
        let answer = client.simple_query(FACTS).await.map_err(|error| self.refused(error))?;
        let row = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let fact = |column| row.and_then(|row| row.get(column)).unwrap_or_default();

        let version: u32 = fact(0).parse().unwrap_or(0);
        if version < OLDEST_SERVER {
            let version = fact(1);
            return Err(unfit(format!("it is PostgreSQL {version}, the oldest supported is 14")));
        }
        let encoding = fact(2);
        if encoding != "UTF8" {
            return Err(unfit(format!("its encoding is {encoding}, events need UTF8")));
        }
        let read_only = fact(3) == "t" || fact(4) == "on";
        if self.server.role == Role::Primary && read_only {
            return Err(self.server.takes_no_writes());
        }
        Ok(())
    }
}

impl ManageConnection for Manager {
    type Connection = Session;
    type Error = Error;

    async fn connect(&self) -> Result<Session, Error> {
        let session = self.attempt().await?;
        // Nobody waits to hear of it from here.
        self.attempts.0.send_if_modified(|attempts| {
            attempts.failing = false;
            false
        });
        Ok(session)
    }

    async fn is_valid(&self, session: &mut Session) -> Result<(), Error> {
        session.ping().await
    }

    fn has_broken(&self, session: &mut Session) -> bool {
        session.is_spent()
    }
}

/// What is asked of each new connection.
const FACTS: &str =
    "SELECT current_setting('server_version_num'), current_setting('server_version'),
     current_setting('server_encoding'), pg_is_in_recovery(),
     current_setting('default_transaction_read_only')";

/// What the driver takes where an address does not say.
const UNSET_KEEPALIVES_IDLE: Duration = Duration::from_secs(2 * 60 * 60);

//! A pool of connections per server, and what a connection remembers.

mod manager;
mod reading;
mod session;
mod suspicion;
mod terms;

use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bb8::{PooledConnection, QueueStrategy, RunError};
use tokio::time::timeout;

use self::manager::Manager;
pub(crate) use self::reading::Rows;
pub(crate) use self::session::{ConnectionId, Form, Session, send, sent};
use self::suspicion::Suspicion;
use crate::error::BoxError;
use crate::log::LogName;
use crate::server::Server;
use crate::{Class, Config, Error, Role, tls};

/// The connections to one server.
#[derive(Clone)]
pub(crate) struct Pool {
    server: Arc<Server>,
    manager: Manager,
    connections: bb8::Pool<Manager>,
    acquire_timeout: Duration,
    /// Whether to give up at the first connection that fails, because another server may answer.
    fail_fast: bool,
    suspicion: Arc<Suspicion>,
}

impl Pool {
    /// Makes a pool for each server of a store. No connection is made yet.
    pub(crate) fn for_store(
        config: &Config,
        log: &LogName,
        role: Role,
    ) -> Result<Vec<Self>, Error> {
        let connector = tls::connector(config.tls.as_ref())?;
        let servers = config.servers.iter().enumerate();
        Ok(servers
            .map(|(index, address)| {
                let server = Arc::new(Server::new(role, index, address, log));
                let manager = Manager::new(config, address, connector.clone(), server);
                let builder = bb8::Pool::builder().max_size(config.max_connections);
                Self::new(config, manager, builder)
            })
            .collect())
    }

    /// Makes the pool of the connections that only append. No connection is made yet.
    ///
    /// They are apart from the store's others, so that appends which wait for the log's lock keep
    /// nobody from reading. Mostly one is in use, and always the same, since it is known what that
    /// one saw.
    pub(crate) fn for_appends(&self, config: &Config) -> Result<Self, Error> {
        let connector = tls::connector(config.tls.as_ref())?;
        let address = config.servers.first().expect("a configuration names a server");
        let manager = Manager::for_appends(config, address, connector, self.server.clone());
        let builder = bb8::Pool::builder()
            .max_size(MAX_APPEND_CONNECTIONS)
            .queue_strategy(QueueStrategy::Lifo);
        Ok(Self::new(config, manager, builder))
    }

    fn new(config: &Config, manager: Manager, builder: bb8::Builder<Manager>) -> Self {
        let connections = builder
            .connection_timeout(config.acquire_timeout)
            // Whether a connection still lives shows when it is used; to ask before would cost
            // each operation a round trip.
            .test_on_check_out(false)
            // The pool would go on when nobody waits any more, and pause where nobody can wake
            // it: who waits tries again.
            .retry_connection(false)
            .error_sink(manager.sink())
            .build_unchecked(manager.clone());
        Self {
            server: manager.server().clone(),
            manager,
            connections,
            acquire_timeout: config.acquire_timeout,
            fail_fast: config.servers.len() > 1,
            suspicion: Arc::default(),
        }
    }

    pub(crate) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Makes a connection apart from the pool, which tells why it cannot be had.
    pub(crate) async fn connect(&self) -> Result<Session, Error> {
        self.manager.attempt().await
    }

    /// Waits for what is asked of a new connection no longer than for the connection itself.
    pub(crate) async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.manager.in_time(answer).await
    }

    /// Takes a connection from the pool.
    pub(crate) async fn acquire(&self) -> Result<Lease, Error> {
        let acquired = match timeout(self.acquire_timeout, self.wait()).await {
            Ok(acquired) => acquired,
            Err(elapsed) => Err(self.timed_out(elapsed)),
        };
        // One that is had is no sign that the server will answer.
        if acquired.is_err() {
            self.note(true);
        }
        acquired
    }

    /// Waits until a connection comes back or can be made.
    ///
    /// The pool makes one attempt for each time that it is asked while it has too few, and tells
    /// nobody when that fails. So it is asked again after a pause, during which the turn is kept:
    /// who waits takes what comes back.
    async fn wait(&self) -> Result<Lease, Error> {
        // It listens before the pool tries.
        let mut failures = self.manager.failures();
        let mut pause = SHORTEST_PAUSE;
        loop {
            let mut connection = pin!(self.take());
            let error = tokio::select! {
                biased;
                taken = &mut connection => return taken,
                error = failures.next() => error,
            };
            if self.is_final(&error) {
                return Err(error);
            }
            if let Ok(taken) = timeout(pause, connection).await {
                return taken;
            }
            pause = LONGEST_PAUSE.min(2 * pause);
        }
    }

    /// Takes a connection that still lives, as far as is known without asking.
    async fn take(&self) -> Result<Lease, Error> {
        loop {
            match self.connections.get_owned().await {
                // Dropped, it makes room for another one.
                Ok(connection) if connection.is_spent() => {}
                Ok(connection) => {
                    return Ok(Lease { connection, suspicion: self.suspicion.clone() });
                }
                Err(RunError::User(error)) => return Err(error),
                // The caller's own limit is the same, and tells why.
                Err(RunError::TimedOut) => std::future::pending().await,
            }
        }
    }

    /// Returns whether to give up rather than wait for what may come back or be made later.
    fn is_final(&self, error: &Error) -> bool {
        let is_lasting = matches!(error.class(), Class::Permanent(_));
        self.fail_fast || is_lasting && self.connections.state().connections == 0
    }

    /// Returns whether the server failed a moment ago, so that another one should be asked first.
    pub(crate) fn is_suspect(&self) -> bool {
        self.suspicion.is_fresh()
    }

    /// Notes whether the server failed.
    pub(crate) fn note(&self, failed: bool) {
        self.suspicion.note(failed);
    }

    fn timed_out(&self, elapsed: impl Into<BoxError>) -> Error {
        if let Some(failure) = self.manager.last_failure() {
            return failure;
        }
        match self.connections.state().connections < self.manager.max_connections() {
            true => self.manager.timed_out(elapsed),
            false => Error::PoolExhausted {
                server: self.server.to_string(),
                waited: self.acquire_timeout,
            },
        }
    }
}

/// A connection out of the pool; dropped, it goes back.
pub(crate) struct Lease {
    connection: PooledConnection<'static, Manager>,
    suspicion: Arc<Suspicion>,
}

impl Lease {
    /// Notes how the server failed, if it did: where another might not have, that one is asked first.
    pub(crate) fn note(&self, failure: Option<&Error>) {
        match failure {
            None => self.suspicion.note(false),
            Some(error) if error.is_of_server() => self.suspect(),
            Some(_) => {}
        }
    }

    /// Notes that another server is to be asked first.
    pub(crate) fn suspect(&self) {
        self.suspicion.note(true);
    }
}

impl Deref for Lease {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.connection
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.connection
    }
}

/// The most connections of a store that append: one, and some for when that one stands still.
const MAX_APPEND_CONNECTIONS: u32 = 4;
/// How long to wait before a connection is tried again, at first.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
/// How long to wait before a connection is tried again, in the end.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

//! A pool of connections per server, and what a connection remembers.

mod manager;
mod session;

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bb8::{PooledConnection, RunError};

use self::manager::Manager;
pub(crate) use self::session::{Session, send, sent};
use crate::log::LogName;
use crate::server::Server;
use crate::{Config, Error, Role, tls};

/// The connections to one server.
pub(crate) struct Pool {
    server: Arc<Server>,
    manager: Manager,
    connections: bb8::Pool<Manager>,
    acquire_timeout: Duration,
    /// Whether to give up at the first connection that fails, because another server may answer.
    fail_fast: bool,
    failed: Mutex<Option<Instant>>,
}

impl Pool {
    /// Makes a pool for each server of a store. No connection is made yet.
    pub(crate) fn for_store(
        config: &Config,
        log: &LogName,
        role: Role,
    ) -> Result<Vec<Self>, Error> {
        let connector = tls::connector(config.tls.as_ref())?;
        let fail_fast = config.servers.len() > 1;
        let pools = config.servers.iter().enumerate().map(|(index, address)| {
            let server = Arc::new(Server::new(role, index, address, log));
            let manager = Manager::new(config, address, connector.clone(), server.clone());
            let connections = bb8::Pool::builder()
                .max_size(config.max_connections)
                .connection_timeout(config.acquire_timeout)
                // Whether a connection still lives shows when it is used; to ask before would cost
                // each operation a round trip.
                .test_on_check_out(false)
                // Between its tries the pool pauses, ever longer, with nobody to wake it.
                .retry_connection(!fail_fast)
                .build_unchecked(manager.clone());
            let acquire_timeout = config.acquire_timeout;
            Self {
                server,
                manager,
                connections,
                acquire_timeout,
                fail_fast,
                failed: Mutex::default(),
            }
        });
        Ok(pools.collect())
    }

    pub(crate) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Makes a connection apart from the pool, which tells why it cannot be had.
    pub(crate) async fn connect(&self) -> Result<Session, Error> {
        self.manager.attempt().await
    }

    /// Takes a connection from the pool.
    pub(crate) async fn acquire(&self) -> Result<Lease, Error> {
        let failure = async {
            match self.fail_fast {
                true => self.manager.failure().await,
                false => std::future::pending().await,
            }
        };
        let acquired = tokio::select! {
            biased;
            // First, so that it listens before the pool tries.
            error = failure => Err(error),
            connection = self.connections.get_owned() => match connection {
                Ok(connection) => Ok(Lease { connection }),
                Err(RunError::User(error)) => Err(error),
                Err(RunError::TimedOut) => Err(self.timed_out()),
            },
        };
        self.note(acquired.is_err());
        acquired
    }

    /// Returns whether the server failed a moment ago, so that another one should be asked first.
    pub(crate) fn is_suspect(&self) -> bool {
        let failed = *self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|at| at.elapsed() < SUSPICION)
    }

    /// Notes whether the server failed.
    pub(crate) fn note(&self, failed: bool) {
        let failed = failed.then(Instant::now);
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = failed;
    }

    fn timed_out(&self) -> Error {
        self.manager.last_failure().unwrap_or_else(|| Error::PoolExhausted {
            server: self.server.to_string(),
            waited: self.acquire_timeout,
        })
    }
}

/// A connection out of the pool; dropped, it goes back.
pub(crate) struct Lease {
    connection: PooledConnection<'static, Manager>,
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

/// How long a server that failed is asked last.
const SUSPICION: Duration = Duration::from_secs(1);

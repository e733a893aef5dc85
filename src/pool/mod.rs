//! A pool of connections per server, and what a connection remembers.

mod attempt;
mod capacity;
mod dial;
mod idle;
mod login;
mod manager;
mod reading;
mod recent_failure;
mod session;
mod session_settings;

use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bb8::QueueStrategy;
use tokio::time::timeout;

use self::idle::{Idle, Pooled, Taken};
use self::manager::Manager;
pub(crate) use self::reading::Rows;
use self::recent_failure::RecentFailure;
pub(crate) use self::session::{ConnectionId, Session, StatementHandle, last_row, send, sent};
use crate::error::BoxError;
use crate::log_name::LogName;
use crate::server::Server;
use crate::{Class, Config, Error, Role};

/// The connections to one server.
#[derive(Clone)]
pub(crate) struct Pool {
    server: Arc<Server>,
    manager: Manager,
    idle: Idle,
    acquire_timeout: Duration,
    /// Whether to give up at the first connection that fails, because another server may answer.
    fail_fast: bool,
    recent_failure: Arc<RecentFailure>,
}

impl Pool {
    /// Makes a pool for each server of a store. No connection is made yet.
    pub(crate) fn for_store(
        config: &Config,
        log: &LogName,
        role: Role,
    ) -> Result<Vec<Self>, Error> {
        let servers = config.servers.iter().enumerate();
        servers
            .map(|(index, address)| {
                let server = Arc::new(Server::new(role, index, address, log));
                let manager = Manager::new(config, address, server)?;
                Ok(Self::new(config, manager, bb8::Pool::builder()))
            })
            .collect()
    }

    /// Makes the pool of the connections that only append. No connection is made yet.
    ///
    /// They are apart from the store's others, so that appends which wait for the log's lock keep
    /// nobody from reading. Mostly one is in use, and always the same, since it is known what that
    /// one saw.
    pub(crate) fn for_appends(&self, config: &Config) -> Result<Self, Error> {
        let manager = self.manager.for_appends(config)?;
        let builder = bb8::Pool::builder().queue_strategy(QueueStrategy::Lifo);
        Ok(Self::new(config, manager, builder))
    }

    fn new(config: &Config, manager: Manager, builder: bb8::Builder<Manager>) -> Self {
        let connections = builder
            .max_size(manager.capacity.most())
            .connection_timeout(config.acquire_timeout)
            // Whether a connection still lives shows when it is used; to ask before would cost
            // each operation a round trip.
            .test_on_check_out(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .build_unchecked(manager.clone());
        Self {
            server: manager.server().clone(),
            manager,
            idle: Idle::new(connections),
            acquire_timeout: config.acquire_timeout,
            fail_fast: config.servers.len() > 1,
            recent_failure: Arc::default(),
        }
    }

    pub(crate) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Makes a connection apart from the pool, which tells why it cannot be had.
    pub(crate) async fn connect(&self) -> Result<Session, Error> {
        self.manager.attempt().await
    }

    /// Adds a connection that was made apart from the pool, if there is capacity for it.
    pub(crate) fn keep(&self, session: Session) {
        let capacity = &self.manager.capacity;
        let _waiting = capacity.wait();
        if let Some(slot) = capacity.begin() {
            self.idle.add(Pooled::new(session, slot.made()));
        }
    }

    /// Waits for what is asked of a new connection no longer than for the connection itself.
    pub(crate) async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.manager.dialer.in_time(answer).await
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
    /// The callers that wait take turns: the first one takes what comes back or is made. While an
    /// attempt fails it is made again after a pause.
    async fn wait(&self) -> Result<Lease, Error> {
        if let Some(taken) = self.idle.try_take()
            && let Some(lease) = self.lease(taken)
        {
            return Ok(lease);
        }
        let capacity = &self.manager.capacity;
        // It listens before an attempt is begun.
        let mut changes = capacity.changes();
        let _waiting = capacity.wait();
        let mut pause = SHORTEST_PAUSE;
        let mut taken = pin!(self.take());
        loop {
            self.begin_attempt();
            let change = tokio::select! {
                biased;
                lease = &mut taken => return Ok(lease),
                change = changes.next() => change,
            };
            let Some(error) = change else { continue };
            if self.is_final(&error) {
                return Err(error);
            }
            if let Ok(lease) = timeout(pause, &mut taken).await {
                return Ok(lease);
            }
            pause = LONGEST_PAUSE.min(2 * pause);
        }
    }

    /// Begins to make a connection, unless as many are being made as callers wait, or there is no
    /// capacity for it.
    ///
    /// The attempt goes on if the caller is gone: what is half made is of use to the next one. If its
    /// runtime ends, so does the attempt, and others begin one in its slot.
    fn begin_attempt(&self) {
        let Some(slot) = self.manager.capacity.begin() else { return };
        let (dialer, idle) = (self.manager.dialer.clone(), self.idle.clone());
        tokio::spawn(async move {
            match dialer.connect().await {
                Ok(session) => idle.add(Pooled::new(session, slot.made())),
                Err(error) => slot.fail(error),
            }
        });
    }

    async fn take(&self) -> Lease {
        loop {
            if let Some(lease) = self.lease(self.idle.take().await) {
                return lease;
            }
        }
    }

    /// Leases a connection that still lives, as far as is known without asking.
    fn lease(&self, connection: Taken) -> Option<Lease> {
        // Dropped, a spent one makes capacity for another one.
        (!connection.is_spent())
            .then(|| Lease { connection, recent_failure: self.recent_failure.clone() })
    }

    /// Returns whether to give up rather than wait for what may come back or be made later.
    fn is_final(&self, error: &Error) -> bool {
        let is_lasting = matches!(error.class(), Class::Permanent(_));
        self.fail_fast || is_lasting && self.manager.capacity.is_empty()
    }

    /// Returns whether the server failed a moment ago, so that another one should be asked first.
    pub(crate) fn is_suspect(&self) -> bool {
        self.recent_failure.is_fresh()
    }

    /// Notes whether the server failed.
    pub(crate) fn note(&self, failed: bool) {
        self.recent_failure.note(failed);
    }

    /// Says what holds all of the connections.
    fn in_use(&self) -> String {
        let connections = self.manager.capacity.most();
        match self.manager.only_appends {
            true => format!("all {connections} that append wait for the server"),
            false => format!(
                "all {connections} of Config::max_connections are in use; raise it, or drop open \
                 streams, each of which holds one to its end"
            ),
        }
    }

    fn timed_out(&self, elapsed: impl Into<BoxError>) -> Error {
        let capacity = &self.manager.capacity;
        if let Some(failure) = capacity.last_failure() {
            return failure;
        }
        match capacity.is_full() {
            false => self.manager.dialer.timed_out(elapsed),
            true => Error::PoolExhausted {
                server: self.server.to_string(),
                reason: self.in_use().into(),
                waited: self.acquire_timeout,
            },
        }
    }
}

/// A connection out of the pool; dropped, it goes back.
pub(crate) struct Lease {
    connection: Taken,
    recent_failure: Arc<RecentFailure>,
}

impl Lease {
    /// Notes how the server failed, if it did: where another might not have, that one is asked first.
    pub(crate) fn note(&self, failure: Option<&Error>) {
        match failure {
            None => self.recent_failure.note(false),
            Some(error) if error.is_of_server() => self.suspect(),
            Some(_) => {}
        }
    }

    /// Notes that another server is to be asked first.
    pub(crate) fn suspect(&self) {
        self.recent_failure.note(true);
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

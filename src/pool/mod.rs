//! Connections to servers: pools, logins, and the state of each session.

mod attempt;
mod capacity;
mod dial;
mod idle;
mod log_identity;
mod login;
mod manager;
mod reading;
mod session;
mod session_settings;
mod session_state;

use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bb8::QueueStrategy;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use self::idle::{CheckedOut, Idle, Pooled};
pub(crate) use self::log_identity::{LogIdentity, SystemId};
use self::manager::Manager;
pub(crate) use self::reading::Rows;
pub(crate) use self::session::{ConnectionId, Session, StatementHandle, fetch_row, last_row, send};
use crate::address::Address;
use crate::error::BoxError;
use crate::log_name::LogName;
use crate::server::Server;
use crate::telemetry::PoolTelemetry;
use crate::{Class, Config, Error, Role};

/// A pool of connections to one server.
#[derive(Clone)]
pub(crate) struct Pool {
    server: Arc<Server>,
    manager: Manager,
    idle: Idle,
    acquire_timeout: Duration,
}

/// What a caller does if an attempt to connect fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum OnFailure {
    /// It tries again, until the time to wait for a connection is over.
    Repeat,
    /// It returns the failure, because it can ask another server.
    Return,
}

impl Pool {
    /// Creates the pool of a server. No connection is opened yet.
    pub(crate) fn of_server(
        config: &Config,
        address: &Address,
        server: Arc<Server>,
        identity: Arc<LogIdentity>,
        telemetry: PoolTelemetry,
    ) -> Result<Self, Error> {
        let manager = Manager::new(config, address, server, identity, telemetry)?;
        Ok(Self::new(config, manager, bb8::Pool::builder()))
    }

    /// Creates the pool of the server that a configuration names first, as the primary. Without
    /// telemetry, it belongs to no store.
    pub(crate) fn of_primary(
        config: &Config,
        log: &LogName,
        telemetry: Option<PoolTelemetry>,
    ) -> Result<Self, Error> {
        let address = &config.servers.first().expect("a configuration names a server").address;
        let server = Server::new(Role::Primary, "primary", address, log);
        Self::of_server(
            config,
            address,
            Arc::new(server),
            Arc::default(),
            telemetry.unwrap_or_else(PoolTelemetry::none),
        )
    }

    /// Creates the pool of the connections that only append. No connection is opened yet.
    ///
    /// They are separate from the store's other connections, so that appends which wait for the
    /// log's lock do not block reads. Usually one connection is in use, and always the same one,
    /// because the store knows which events that connection has seen.
    pub(crate) fn for_appends(&self, config: &Config, telemetry: PoolTelemetry) -> Self {
        let builder = bb8::Pool::builder().queue_strategy(QueueStrategy::Lifo);
        Self::new(config, self.manager.for_appends(config, telemetry), builder)
    }

    fn new(config: &Config, manager: Manager, builder: bb8::Builder<Manager>) -> Self {
        let connections = builder
            .max_size(manager.capacity.max())
            .connection_timeout(config.acquire_timeout)
            // The use of a connection shows whether it is alive. A test before each use would cost
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
        }
    }

    pub(crate) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Shows the connections and the waiting callers in metrics, as long as the pool exists or one
    /// of its connections is in use.
    pub(crate) fn observe(&self) {
        let capacity = Arc::downgrade(&self.manager.capacity);
        self.telemetry().observe(capacity);
    }

    fn telemetry(&self) -> &PoolTelemetry {
        self.manager.capacity.telemetry()
    }

    /// Refuses a log with another identity than the store's. The first server that is asked tells
    /// the identity of the store's log.
    pub(crate) fn recognize(&self, found: Uuid) -> Result<(), Error> {
        let expected = self.identity().learn(found);
        match expected == found {
            true => Ok(()),
            false => Err(Error::OtherLog { server: self.server.to_string(), expected, found }),
        }
    }

    /// Returns what is known of the log and of its primary.
    pub(crate) fn identity(&self) -> &Arc<LogIdentity> {
        self.manager.dialer.identity()
    }

    /// Opens a connection outside of the pool. Unlike [`acquire`](Self::acquire), it returns the
    /// error of its own attempt.
    pub(crate) async fn connect(&self) -> Result<Session, Error> {
        self.manager.open().await
    }

    /// Adds a connection that was opened outside of the pool, if there is capacity for it.
    pub(crate) fn add(&self, session: Session) {
        if let Some(slot) = self.manager.capacity.reserve_unasked() {
            self.idle.add(Pooled::new(session, slot.opened()));
        }
    }

    /// Waits for the first answers on a new connection for at most the connect timeout.
    pub(crate) async fn with_connect_timeout<T>(
        &self,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.manager.dialer.with_connect_timeout(answer).await
    }

    /// Takes a connection from the pool.
    pub(crate) async fn acquire(&self) -> Result<Lease, Error> {
        self.acquire_or(OnFailure::Repeat).await
    }

    /// Takes a connection from the pool, and does this if an attempt to connect fails.
    pub(crate) async fn acquire_or(&self, on_failure: OnFailure) -> Result<Lease, Error> {
        let began = Instant::now();
        match timeout(self.acquire_timeout, self.wait(on_failure)).await {
            Ok(acquired) => {
                if acquired.is_ok() {
                    self.telemetry().acquired(began.elapsed());
                }
                acquired
            }
            Err(elapsed) => {
                self.telemetry().timed_out();
                Err(self.timed_out(began, elapsed))
            }
        }
    }

    /// Waits until a connection is returned or opened.
    ///
    /// Callers get connections in the order in which they began to wait. A failed attempt to
    /// connect is repeated after a pause.
    async fn wait(&self, on_failure: OnFailure) -> Result<Lease, Error> {
        if let Some(connection) = self.idle.try_take()
            && let Some(lease) = self.lease(connection)
        {
            return Ok(lease);
        }
        let capacity = &self.manager.capacity;
        // Subscribe before the attempt starts, so that its failure is not missed.
        let mut changes = capacity.changes();
        let _waiting = capacity.wait();
        let identity = self.identity();
        let (mut newest, mut seeker) = (identity.newest(), None);
        let mut pause = MIN_PAUSE;
        let mut taken = pin!(self.take());
        loop {
            self.start_attempt();
            let change = tokio::select! {
                biased;
                lease = &mut taken => return Ok(lease),
                change = changes.next() => change,
            };
            let Some(error) = change else { continue };
            if on_failure == OnFailure::Return || self.is_final(&error) {
                return Err(error);
            }
            if self.server.role == Role::Primary {
                seeker.get_or_insert_with(|| identity.seek());
            }
            tokio::select! {
                biased;
                lease = &mut taken => return Ok(lease),
                // The promoted server is tried at once.
                _ = newest.changed() => {}
                () = sleep(pause) => {}
            }
            pause = MAX_PAUSE.min(2 * pause);
        }
    }

    /// Starts an attempt to connect, unless there are as many attempts as waiting callers, or no
    /// capacity.
    ///
    /// The attempt runs in a task of its own, which goes on if the caller is dropped: the next
    /// caller can use the connection. If the runtime ends, the attempt ends with it, and its slot
    /// is free for attempts on other runtimes.
    fn start_attempt(&self) {
        let Some(slot) = self.manager.capacity.reserve() else { return };
        let (manager, idle) = (self.manager.clone(), self.idle.clone());
        tokio::spawn(async move {
            match manager.open().await {
                Ok(session) => idle.add(Pooled::new(session, slot.opened())),
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

    /// Leases a connection, unless it is known to be unusable. No request is sent to find out.
    fn lease(&self, mut connection: CheckedOut) -> Option<Lease> {
        // Dropping a spent connection frees its slot.
        if connection.is_spent() {
            return None;
        }
        connection.lease();
        Some(Lease(connection))
    }

    /// Returns whether to fail with this error instead of waiting for another connection.
    fn is_final(&self, error: &Error) -> bool {
        let is_permanent = matches!(error.class(), Class::Permanent(_));
        is_permanent && self.manager.capacity.is_empty()
    }

    /// Renders what the connections are in use for.
    fn usage(&self) -> String {
        let connections = self.manager.capacity.max();
        match self.manager.only_appends {
            true => format!("all {connections} append connections wait for the server"),
            false => format!(
                "all {connections} of Config::max_connections are in use; raise it, or drop open \
                 streams, each of which holds a connection until it ends"
            ),
        }
    }

    /// Returns why no connection could be made at the last attempt, if that one failed, at this
    /// time or later.
    pub(crate) fn connect_failure(&self, since: Instant) -> Option<Error> {
        let failure = self.manager.capacity.last_failure(since)?;
        // A permanent failure is not final while another connection is open, see `is_final`.
        let is_permanent = matches!(failure.class(), Class::Permanent(_));
        (!is_permanent || self.manager.capacity.is_empty()).then_some(failure)
    }

    fn timed_out(&self, began: Instant, elapsed: impl Into<BoxError>) -> Error {
        if let Some(failure) = self.manager.capacity.last_failure(began) {
            return failure;
        }
        match self.manager.capacity.is_full() {
            false => self.manager.dialer.timed_out(elapsed),
            true => Error::PoolExhausted {
                server: self.server.to_string(),
                reason: self.usage().into(),
                waited: self.acquire_timeout,
            },
        }
    }
}

/// A connection that is leased from the pool. Dropping it returns it.
pub(crate) struct Lease(CheckedOut);

impl Deref for Lease {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.0
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// The limit of a store's append connections: one, and a few more for when that one is stuck.
const MAX_APPEND_CONNECTIONS: u32 = 4;
/// The pause after the first failed attempt to connect. Each further pause is twice as long.
const MIN_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause between two attempts to connect.
const MAX_PAUSE: Duration = Duration::from_secs(1);

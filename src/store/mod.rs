//! The store: what may be asked of a log.

mod append;
mod read;
mod stream;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

pub use self::append::{MAX_APPEND_BYTES, MAX_APPEND_EVENTS};
pub use self::stream::EventStream;
use crate::log::LogName;
use crate::pool::Pool;
use crate::telemetry::{Operation, OperationName, Telemetry};
use crate::{Config, Error, Mode, ReadOnly, ReadWrite, SequenceNumber, schema};

/// Reads a log and, if its mode is [`ReadWrite`], appends to it.
///
/// A store is a handle: cheap to clone, to be shared between tasks, each clone using the same
/// connections. Its mode is part of its type (see [`Mode`]): command handlers hold a
/// `Store<ReadWrite>`, which works on the primary; query handlers hold a `Store<ReadOnly>`, which
/// spreads its reads over replicas and whose connections refuse to write.
pub struct Store<M: Mode> {
    shared: Arc<Shared>,
    at_least: SequenceNumber,
    mode: PhantomData<fn() -> M>,
}

/// What the clones of a store have in common.
struct Shared {
    log: LogName,
    /// One for the primary, or one for each replica.
    pools: Vec<Pool>,
    next: AtomicUsize,
    /// The highest end of the log that was seen, to tell a fresh condition from a stale one.
    newest: AtomicU64,
    replica_timeout: Duration,
    telemetry: Telemetry,
}

impl<M: Mode> Store<M> {
    fn open(config: &Config) -> Result<Self, Error> {
        let log = config.check()?;
        let pools = Pool::for_store(config, &log, M::ROLE)?;
        let telemetry = config.telemetry.clone();
        for pool in &pools {
            telemetry.announce(pool.server());
        }
        let shared = Shared {
            log,
            pools,
            next: AtomicUsize::new(0),
            newest: AtomicU64::new(0),
            replica_timeout: config.replica_timeout,
            telemetry,
        };
        Ok(Self { shared: Arc::new(shared), at_least: SequenceNumber::ZERO, mode: PhantomData })
    }

    fn operation(&self, name: OperationName) -> Operation {
        self.shared.telemetry.operation(name, self.first().server())
    }

    /// The server that an operation belongs to as long as none has served it.
    fn first(&self) -> &Pool {
        &self.shared.pools[0]
    }
}

impl Store<ReadWrite> {
    /// Connects to the primary and checks that it takes writes and holds the log.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] where a setting is wrong or several servers are named,
    /// [`Error::Unreachable`] where no connection can be made, [`Error::Database`] where the
    /// server refuses it, [`Error::UnfitServer`] where it is a replica, too old, or of an encoding
    /// other than UTF-8, [`Error::SchemaMissing`] and [`Error::SchemaVersion`] where the log is
    /// not there or not of this crate's version.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it leaves nothing behind.
    pub async fn connect(config: Config) -> Result<Self, Error> {
        if config.servers.len() > 1 {
            return Err(Error::invalid_config("replica", "a read-write store has one server"));
        }
        let store = Self::open(&config)?;
        store.shared.check(store.first()).await?;
        Ok(store)
    }
}

impl Store<ReadOnly> {
    /// Connects to the replicas. One of them at least must answer and hold the log; those that do
    /// not are asked again later.
    ///
    /// A replica may as well be a primary: its connections are set to refuse writes all the same.
    ///
    /// # Errors
    ///
    /// Those of [`Store::<ReadWrite>::connect`], of the first replica where none can be used.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it leaves nothing behind.
    pub async fn connect(config: Config) -> Result<Self, Error> {
        let store = Self::open(&config)?;
        let shared = &store.shared;
        let checks = shared.pools.iter().map(|pool| shared.check(pool));
        let outcomes = futures_util::future::join_all(checks).await;
        for (pool, outcome) in shared.pools.iter().zip(&outcomes) {
            pool.note(outcome.is_err());
        }
        if outcomes.iter().any(Result::is_ok) {
            return Ok(store);
        }
        outcomes.into_iter().next().unwrap_or(Ok(())).map(|()| store)
    }

    /// Returns a handle whose reads answer at this position or later.
    ///
    /// Given the position of an append, they see that append and all before it. A replica that has
    /// not come so far is asked again, for as long as [`Config::replica_timeout`] says; then the
    /// read fails with [`Error::ReplicaBehind`].
    pub fn at_least(&self, position: SequenceNumber) -> Self {
        Self { at_least: position, ..self.clone() }
    }
}

impl Shared {
    async fn check(&self, pool: &Pool) -> Result<(), Error> {
        let session = pool.connect().await?;
        schema::check(&session, &self.log).await
    }

    fn note_newest(&self, position: SequenceNumber) {
        self.newest.fetch_max(position.value(), Ordering::Relaxed);
    }

    /// Returns the pools in the order in which to ask them: by turns, suspect ones last.
    fn in_turn(&self) -> Vec<&Pool> {
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let count = self.pools.len();
        let mut pools: Vec<_> = (0..count).map(|i| &self.pools[(start + i) % count]).collect();
        pools.sort_by_key(|pool| pool.is_suspect());
        pools
    }
}

impl<M: Mode> Clone for Store<M> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), at_least: self.at_least, mode: PhantomData }
    }
}

impl<M: Mode> fmt::Debug for Store<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<_> =
            self.shared.pools.iter().map(|pool| pool.server().to_string()).collect();
        f.debug_struct("Store")
            .field("role", &M::ROLE)
            .field("log", &self.shared.log.to_string())
            .field("servers", &servers)
            .finish_non_exhaustive()
    }
}

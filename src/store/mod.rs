//! The store: what may be asked of a log.

mod append;
mod appender;
mod deadline;
mod decide;
mod failure;
mod gather;
mod import;
mod keyed_mutex;
mod locked;
mod log;
mod outcome;
mod read;
mod searches;
mod staged;
mod stream;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use self::appender::Appender;
use self::deadline::AttemptDeadline;
pub use self::import::Import;
use self::keyed_mutex::KeyedMutex;
use self::log::Log;
use self::searches::{SearchRequest, Searches};
pub use self::stream::EventStream;
use crate::pool::{Pool, Session};
use crate::retry::Retry;
use crate::sql::{self, Precondition, TransactionEnd};
use crate::telemetry::{Operation, OperationName, Telemetry};
use crate::{
    AppendCondition, Classify, Config, Error, Filter, Mode, ReadOnly, ReadWrite, RetryPolicy, Role,
    SequenceNumber, schema,
};

/// Reads a log and, if its mode is [`ReadWrite`], appends to it.
///
/// A store is a handle: cheap to clone, to be shared between tasks, each clone using the same
/// connections. Its mode is part of its type (see [`Mode`]): command handlers hold a
/// `Store<ReadWrite>`, which works on the primary; query handlers hold a `Store<ReadOnly>`, which
/// spreads its reads over replicas and whose connections refuse to write.
pub struct Store<M: Mode> {
    shared: Arc<Shared>,
    at_least: SequenceNumber,
    retry: RetryPolicy,
    scope: Option<&'static str>,
    mode: PhantomData<fn() -> M>,
}

/// What the clones of a store have in common.
struct Shared {
    log: Arc<Log>,
    /// One for the primary, or one for each replica.
    pools: Vec<Pool>,
    next: AtomicUsize,
    /// Of a read-write store.
    writing: Option<Writing>,
    boundary_locks: KeyedMutex,
    decision_timeout: Duration,
    lock_timeout: Duration,
    replica_timeout: Duration,
    statement_timeout: Duration,
    telemetry: Telemetry,
}

/// What a read-write store appends with.
struct Writing {
    appender: Arc<Appender>,
    searches: Arc<Searches>,
}

impl Writing {
    /// Makes the appender and its searches. Their connections are apart from the primary's pool, so that
    /// appends which wait for the log's lock keep no reader waiting.
    fn new(config: &Config, primary: &Pool, log: &Arc<Log>) -> Result<Self, Error> {
        let pool = primary.for_appends(config);
        let searches = Searches::new(log.clone(), pool.clone(), primary.clone());
        Ok(Self { appender: Appender::new(config, pool, log.clone()), searches })
    }

    /// Has the server plan what the first append needs, which takes it several times as long as an
    /// append. If the log's lock is taken, part of that is left to the first append.
    async fn warm_up(&self, log: &Log) -> Result<(), Error> {
        let nothing = AppendCondition::no_match(Filter::any_of([("Key", "value")]).build()?);
        let search =
            SearchRequest { events: Arc::new([]), at: None, guard: nothing.guard().cloned() };
        let deadline = AttemptDeadline::new(&RetryPolicy::never(), Instant::now());
        self.searches.find(search, deadline).await?;
        let append = sql::append_batch(
            &log.append_texts,
            Precondition::None,
            TransactionEnd::Commit,
            Some(Duration::from_millis(1)),
            None,
            [].iter(),
        );
        searches::query(self.appender.pool(), &append, deadline).await.map(drop)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(writing) = &self.writing {
            writing.appender.close();
        }
    }
}

impl<M: Mode> Store<M> {
    fn open(config: &Config) -> Result<Self, Error> {
        let name = config.check()?;
        let pools = Pool::for_store(config, &name, M::ROLE)?;
        let log = Arc::new(Log::new(name.clone()));
        let writing = match M::ROLE {
            Role::Primary => Some(Writing::new(config, &pools[0], &log)?),
            Role::Replica => None,
        };
        let telemetry = config.telemetry.clone().unwrap_or_default();
        for pool in &pools {
            telemetry.announce(pool.server());
        }
        let shared = Shared {
            log,
            pools,
            next: AtomicUsize::new(0),
            writing,
            boundary_locks: KeyedMutex::default(),
            decision_timeout: config.decision_timeout,
            lock_timeout: config.lock_timeout,
            replica_timeout: config.replica_timeout,
            statement_timeout: config.statement_timeout,
            telemetry,
        };
        Ok(Self {
            shared: Arc::new(shared),
            at_least: SequenceNumber::ZERO,
            retry: config.retry.clone(),
            scope: None,
            mode: PhantomData,
        })
    }

    /// Returns a handle that tries again as this policy says, instead of the one in
    /// [`Config::retry`].
    pub fn with_retry_policy(&self, policy: RetryPolicy) -> Self {
        Self { retry: policy, ..self.clone() }
    }

    /// Returns a handle whose retries are counted under a name, a handler's for instance. It is a
    /// label of metrics, so names must be few.
    pub fn with_scope(&self, name: &'static str) -> Self {
        Self { scope: Some(name), ..self.clone() }
    }

    /// Returns how this handle tries again.
    pub fn retry_policy(&self) -> &RetryPolicy {
        &self.retry
    }

    /// Runs an operation of the caller's again and again, as this handle's policy says, and counts
    /// it under this handle's scope.
    ///
    /// It is for what consists of more than one call of the store: the reading of a stream to its
    /// end, for instance. Within it use a handle that [never](RetryPolicy::never) tries again
    /// itself, lest attempts multiply.
    ///
    /// An attempt is never cut off, since an append in it may have been sent by then (see
    /// [`Retry::without_timeouts`]): the deadline only keeps new ones from beginning. To limit the time of an
    /// attempt, limit that of the calls in it, by the policy of the handle that they are made on.
    ///
    /// ```no_run
    /// # use eddyline::{Error, Filter, ReadOnly, RetryPolicy, Store};
    /// use futures_util::TryStreamExt;
    ///
    /// # async fn count(reader: Store<ReadOnly>) -> Result<(), Error> {
    /// let once = reader.with_retry_policy(RetryPolicy::never());
    /// let lent = reader
    ///     .with_scope("LoansEver")
    ///     .retry(async || {
    ///         let filter = Filter::types(["BookCopyLentToReader"]).build()?;
    ///         let events = once.stream(filter).await?;
    ///         events.try_fold(0, async |lent, _| Ok(lent + 1)).await
    ///     })
    ///     .await
    ///     .into_result()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn retry<O, F, T, E>(&self, operation: O) -> Retry<'_, O, F, E>
    where
        O: FnMut() -> F,
        F: Future<Output = Result<T, E>>,
        E: Classify,
    {
        let scope = self.scope_or("operation");
        self.retry_as(scope, operation)
    }

    /// Retries what limits the time of its attempts itself.
    fn retry_as<O, F, T, E>(&self, scope: &'static str, operation: O) -> Retry<'_, O, F, E>
    where
        O: FnMut() -> F,
        F: Future<Output = Result<T, E>>,
        E: Classify,
    {
        Retry::new(&self.retry, operation)
            .without_timeouts()
            .telemetry(&self.shared.telemetry, scope)
    }

    /// Returns what a call's tries are counted under, where it has no name of its own.
    fn scope_or(&self, default: &'static str) -> &'static str {
        self.scope.unwrap_or(default)
    }

    fn limit(&self, started: Instant) -> AttemptDeadline {
        AttemptDeadline::new(&self.retry, started)
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
    /// Connects to the primary and checks that it takes writes, that the log is as
    /// [`Schema::migrate`](crate::Schema::migrate) makes it, and that the role may append to it. The
    /// connection is kept, and made ready for the first append.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] where a setting is wrong or several servers are named,
    /// [`Error::Unreachable`] where no connection can be made, [`Error::Database`] where the
    /// server refuses it, [`Error::UnsuitableServer`] where it is a replica, too old, or of an encoding
    /// other than UTF-8, [`Error::SchemaMissing`] and [`Error::SchemaVersion`] where the log is
    /// not there or not of this crate's version, [`Error::SchemaDamaged`] if an object of the log is
    /// missing or altered or its sequence lies behind its head, [`Error::UnsuitableRole`] if the role lacks a
    /// right or row-level security hides events from it.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it leaves nothing behind.
    pub async fn connect(config: Config) -> Result<Self, Error> {
        if config.servers.len() > 1 {
            return Err(Error::invalid_config("replica", "a read-write store has one server"));
        }
        let store = Self::open(&config)?;
        store.shared.check_to_write().await?;
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
            pool.set_failed(outcome.is_err());
        }
        if outcomes.iter().any(Result::is_ok) {
            return Ok(store);
        }
        match outcomes.into_iter().next() {
            Some(Err(error)) => Err(error),
            _ => Ok(store),
        }
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
    fn appender(&self) -> &Arc<Appender> {
        &self.writing().appender
    }

    fn searches(&self) -> &Arc<Searches> {
        &self.writing().searches
    }

    fn writing(&self) -> &Writing {
        self.writing.as_ref().expect("only a read-write store appends")
    }

    async fn check(&self, pool: &Pool) -> Result<Session, Error> {
        let session = pool.connect().await?;
        let head = pool.with_connect_timeout(schema::check(&session, &self.log.name)).await?;
        self.log.note_newest(head);
        Ok(session)
    }

    /// Checks the primary over a connection that is kept for the first append.
    async fn check_to_write(&self) -> Result<(), Error> {
        let pool = self.appender().pool();
        let session = self.check(pool).await?;
        pool.add(session);
        // What it makes ready is of use, but not needed.
        let _ = pool.with_connect_timeout(self.writing().warm_up(&self.log)).await;
        Ok(())
    }

    /// Returns the pools in the order in which to ask them: by boundary_locks, suspect ones last.
    fn in_turn(&self) -> Vec<&Pool> {
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let count = self.pools.len();
        let mut pools: Vec<_> = (0..count).map(|i| &self.pools[(start + i) % count]).collect();
        pools.sort_by_key(|pool| pool.has_failed_recently());
        pools
    }
}

impl<M: Mode> Clone for Store<M> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            at_least: self.at_least,
            retry: self.retry.clone(),
            scope: self.scope,
            mode: PhantomData,
        }
    }
}

impl<M: Mode> fmt::Debug for Store<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<_> =
            self.shared.pools.iter().map(|pool| pool.server().to_string()).collect();
        f.debug_struct("Store")
            .field("role", &M::ROLE)
            .field("log", &self.shared.log.name.to_string())
            .field("servers", &servers)
            .finish_non_exhaustive()
    }
}

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::appender::Appender;
use super::deadline::AttemptDeadline;
use super::keyed_mutex::KeyedMutex;
use super::log_state::LogState;
use super::searcher::{SearchRequest, SearchTarget, Searcher, run_transaction};
use crate::pool::{Pool, Session};
use crate::sql::{self, Precondition, TransactionEnd};
use crate::telemetry::Telemetry;
use crate::{AppendCondition, Config, Error, Filter, RetryPolicy, Role, schema};

/// The state that the clones of a store share.
pub(super) struct Shared {
    pub(super) log: Arc<LogState>,
    /// In a read-write store, the pool of the primary. It is used for reads, for decisions under
    /// the log's lock, for large appends and imports, and for searches that are not batched. In a
    /// read-only store, a pool for each replica.
    pub(super) pools: Vec<Pool>,
    /// The pool that the next read starts with, modulo their number.
    next_pool: AtomicUsize,
    /// `None` in a read-only store.
    writer: Option<Writer>,
    pub(super) boundary_locks: KeyedMutex,
    pub(super) decision_timeout: Duration,
    pub(super) lock_timeout: Duration,
    pub(super) replica_timeout: Duration,
    pub(super) statement_timeout: Duration,
    pub(super) telemetry: Telemetry,
}

/// The part of a read-write store that appends.
struct Writer {
    appender: Arc<Appender>,
    searcher: Arc<Searcher>,
}

impl Writer {
    /// Creates the appender and its searcher. Batches of appends and of searches use a pool of
    /// their own. So reads do not wait for a connection that waits for the log's lock, and these
    /// statements have the settings that [`Pool::for_appends`] makes.
    fn new(config: &Config, primary: &Pool, log: &Arc<LogState>) -> Self {
        let pool = primary.for_appends(config);
        let searcher = Searcher::new(log.clone(), pool.clone(), primary.clone());
        Self { appender: Appender::new(config, pool, log.clone()), searcher }
    }

    /// Makes the server plan the statements that the first append needs, which takes several times
    /// as long as an append. If the log's lock is taken, a part of that is left to the first
    /// append.
    async fn warm_up(&self, log: &LogState) -> Result<(), Error> {
        let condition = AppendCondition::no_match(Filter::any_of([("Key", "value")]).build()?);
        let target = condition.filter_position().cloned().map(SearchTarget::Conflict);
        let search = SearchRequest { events: Arc::new([]), target };
        let deadline = AttemptDeadline::new(&RetryPolicy::never(), Instant::now());
        self.searcher.find(search, deadline).await?;
        let append = sql::append_batch(
            &log.append_texts,
            Precondition::None,
            TransactionEnd::Commit,
            Some(Duration::from_millis(1)),
            None,
            [].iter(),
        );
        run_transaction(self.appender.pool(), &append, deadline).await.map(drop)
    }
}

impl Shared {
    pub(super) fn new(config: &Config, role: Role) -> Result<Self, Error> {
        let name = config.check()?;
        let pools = Pool::for_store(config, &name, role)?;
        let log = Arc::new(LogState::new(name));
        let writer = match role {
            Role::Primary => Some(Writer::new(config, &pools[0], &log)),
            Role::Replica => None,
        };
        let telemetry = config.telemetry.clone().unwrap_or_default();
        for pool in &pools {
            telemetry.announce(pool.server());
        }
        Ok(Self {
            log,
            pools,
            next_pool: AtomicUsize::new(0),
            writer,
            boundary_locks: KeyedMutex::default(),
            decision_timeout: config.decision_timeout,
            lock_timeout: config.lock_timeout,
            replica_timeout: config.replica_timeout,
            statement_timeout: config.statement_timeout,
            telemetry,
        })
    }

    pub(super) fn appender(&self) -> &Arc<Appender> {
        &self.writer().appender
    }

    pub(super) fn searcher(&self) -> &Arc<Searcher> {
        &self.writer().searcher
    }

    fn writer(&self) -> &Writer {
        self.writer.as_ref().expect("only a read-write store appends")
    }

    /// Connects to a server, and checks it and the log.
    pub(super) async fn check(&self, pool: &Pool) -> Result<Session, Error> {
        let session = pool.connect().await?;
        let observed = pool.with_connect_timeout(schema::check(&session, &self.log.name)).await?;
        self.log.note_newest(observed.head.position());
        Ok(session)
    }

    /// Checks the primary over a connection that is kept for the first append.
    pub(super) async fn check_primary(&self) -> Result<(), Error> {
        let pool = self.appender().pool();
        let session = self.check(pool).await?;
        pool.add(session);
        // Warming up is optional: errors are ignored.
        let _ = pool.with_connect_timeout(self.writer().warm_up(&self.log)).await;
        Ok(())
    }

    /// Returns the pools in the order in which a read asks them: round-robin, those whose server
    /// failed a moment ago last.
    pub(super) fn pools_to_ask(&self) -> Vec<&Pool> {
        let start = self.next_pool.fetch_add(1, Ordering::Relaxed);
        let count = self.pools.len();
        let mut pools: Vec<_> = (0..count).map(|i| &self.pools[(start + i) % count]).collect();
        pools.sort_by_key(|pool| pool.has_failed_recently());
        pools
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(writer) = &self.writer {
            writer.appender.close();
        }
    }
}

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::appender::Appender;
use super::deadline::AttemptDeadline;
use super::keyed_mutex::KeyedMutex;
use super::log_state::LogState;
use super::replicas::{HostWatchers, ReplicaSet};
use super::searcher::{SearchRequest, SearchTarget, Searcher, run_transaction};
use crate::pool::{Pool, Session};
use crate::server::Server;
use crate::sql::{self, Precondition, TransactionEnd};
use crate::telemetry::{OperationHandle, Request, StoreTelemetry};
use crate::{AppendCondition, Config, Error, Filter, RetryPolicy, Role, schema};

/// The state that the clones of a store share.
pub(super) struct Shared {
    pub(super) log: Arc<LogState>,
    pub(super) servers: Servers,
    pub(super) boundary_locks: KeyedMutex,
    pub(super) decision_timeout: Duration,
    pub(super) lock_timeout: Duration,
    pub(super) replica_timeout: Duration,
    pub(super) statement_timeout: Duration,
    pub(super) telemetry: StoreTelemetry,
}

/// The servers of a store.
pub(super) enum Servers {
    /// The primary of a read-write store.
    Primary(Writer),
    Replicas(Box<ReplicaSet>),
}

/// The primary of a read-write store, and the part of the store that appends.
pub(super) struct Writer {
    /// The connections for reads, for decisions under the log's lock, for large appends and
    /// imports, and for searches that are not batched.
    pool: Pool,
    appender: Arc<Appender>,
    searcher: Arc<Searcher>,
    hosts: HostWatchers,
}

impl Writer {
    /// Creates the appender and its searcher. Batches of appends and of searches use a pool of
    /// their own. So reads do not wait for a connection that waits for the log's lock, and these
    /// statements have the settings that [`Pool::for_appends`] makes.
    fn new(
        config: &Config,
        log: &Arc<LogState>,
        telemetry: &StoreTelemetry,
    ) -> Result<Self, Error> {
        let pool = Pool::of_primary(config, &log.name, Some(telemetry.pool("primary")))?;
        let for_appends = pool.for_appends(config, telemetry.pool("primary-appends"));
        pool.observe();
        for_appends.observe();
        let searcher = Searcher::new(log.clone(), for_appends.clone(), pool.clone());
        let appender = Appender::new(config, for_appends, log.clone());
        let queue = Arc::downgrade(&appender);
        telemetry.observe_queue(queue);
        let hosts = HostWatchers::new(config, &log.name, pool.identity(), telemetry)?;
        Ok(Self { pool, appender, searcher, hosts })
    }

    /// Returns the pool for everything but batches.
    pub(super) fn pool(&self) -> &Pool {
        self.hosts.ensure_running();
        &self.pool
    }

    fn appender(&self) -> &Arc<Appender> {
        self.hosts.ensure_running();
        &self.appender
    }

    /// Makes the server plan the statements that the first append needs, which takes several times
    /// as long as an append. If the log's lock is taken, a part of that is left to the first
    /// append.
    async fn warm_up(&self, log: &LogState, operation: &OperationHandle) -> Result<(), Error> {
        let condition = AppendCondition::no_match(Filter::any_of([("Key", "value")]).build()?);
        let target = condition.filter_position().cloned().map(SearchTarget::Conflict);
        let search = SearchRequest { events: Arc::new([]), target };
        let deadline = AttemptDeadline::new(&RetryPolicy::never(), Instant::now());
        self.searcher.find(search, operation, deadline).await?;
        self.append_nothing(log, Some(Duration::from_millis(1)), operation, deadline).await
    }

    /// Waits until the appends have ended that hold the log's lock or wait for it now.
    pub(super) async fn wait_for_appends(
        &self,
        log: &LogState,
        operation: &OperationHandle,
        deadline: AttemptDeadline,
    ) -> Result<(), Error> {
        self.append_nothing(log, None, operation, deadline).await
    }

    /// Calls the append procedure without events. It takes the log's lock, and begins the epoch.
    async fn append_nothing(
        &self,
        log: &LogState,
        lock_timeout: Option<Duration>,
        operation: &OperationHandle,
        deadline: AttemptDeadline,
    ) -> Result<(), Error> {
        let append = sql::append_batch(
            &log.append_texts,
            Precondition::None,
            TransactionEnd::Commit,
            lock_timeout,
            None,
            [].iter(),
        );
        let exchange = (operation, Request::Append);
        run_transaction(self.appender.pool(), &append, exchange, deadline).await.map(drop)
    }
}

impl Shared {
    pub(super) fn new(config: &Config, role: Role) -> Result<Self, Error> {
        let name = config.check()?;
        let log = Arc::new(LogState::new(name));
        let telemetry = config.store_telemetry(role);
        let servers = match role {
            Role::Primary => Servers::Primary(Writer::new(config, &log, &telemetry)?),
            Role::Replica => {
                let set = ReplicaSet::new(config, &log.name, telemetry.clone())?;
                Servers::Replicas(Box::new(set))
            }
        };
        let shared = Self {
            log,
            servers,
            boundary_locks: KeyedMutex::default(),
            decision_timeout: config.decision_timeout,
            lock_timeout: config.lock_timeout,
            replica_timeout: config.replica_timeout,
            statement_timeout: config.statement_timeout,
            telemetry,
        };
        for pool in shared.pools() {
            shared.telemetry.announce(pool.server());
        }
        for scope in scopes(role) {
            shared.telemetry.announce_scope(scope);
        }
        Ok(shared)
    }

    /// Returns the pools of the servers: that of the primary, or one for each replica.
    pub(super) fn pools(&self) -> Vec<Pool> {
        match &self.servers {
            Servers::Primary(writer) => vec![writer.pool.clone()],
            Servers::Replicas(set) => set.pools(),
        }
    }

    /// Returns the primary, or the first replica.
    pub(super) fn first_server(&self) -> Arc<Server> {
        match &self.servers {
            Servers::Primary(writer) => writer.pool.server().clone(),
            Servers::Replicas(set) => set.first_server(),
        }
    }

    pub(super) fn appender(&self) -> &Arc<Appender> {
        self.writer().appender()
    }

    pub(super) fn searcher(&self) -> &Arc<Searcher> {
        &self.writer().searcher
    }

    pub(super) fn writer(&self) -> &Writer {
        match &self.servers {
            Servers::Primary(writer) => writer,
            Servers::Replicas(_) => unreachable!("only a read-write store appends"),
        }
    }

    pub(super) fn replica_set(&self) -> &ReplicaSet {
        match &self.servers {
            Servers::Primary(_) => unreachable!("only a read-only store has replicas"),
            Servers::Replicas(set) => set,
        }
    }

    /// Connects to a server, and checks it and the log.
    pub(super) async fn check(&self, pool: &Pool) -> Result<Session, Error> {
        let session = pool.connect().await?;
        let checking = pool.with_connect_timeout(schema::check(&session, &self.log.name));
        let (found, head) = checking.await?;
        pool.recognize(found)?;
        self.log.note_newest(head);
        Ok(session)
    }

    /// Checks the primary over a connection that is kept for the first append.
    pub(super) async fn check_primary(&self) -> Result<(), Error> {
        let writer = self.writer();
        let pool = writer.appender.pool();
        let mut session = self.check(pool).await?;
        writer.hosts.connect().await?;
        // Another host has shown that this one is a former primary.
        if session.is_spent() {
            session = self.check(pool).await?;
        }
        pool.add(session);
        // Warming up is optional: errors are ignored.
        let _ = pool
            .with_connect_timeout(writer.warm_up(&self.log, &self.telemetry.background()))
            .await;
        Ok(())
    }
}

/// Returns the scopes of the operations of a store, if its handles set none.
fn scopes(role: Role) -> &'static [&'static str] {
    match role {
        Role::Primary => {
            &["append", "decide", "event", "head", "import", "operation", "query", "stream"]
        }
        Role::Replica => &["event", "head", "operation", "query", "stream"],
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Servers::Primary(writer) = &self.servers {
            writer.appender.close();
        }
    }
}

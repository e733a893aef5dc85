//! The stores under load. The name of each is an attribute of its metrics.

use std::time::Duration;

use eddyline::retry::RetryPolicyBuilder;
use eddyline::{Config, Fallback, ReadOnly, ReadWrite, RetryPolicy, Store, Telemetry};

use crate::Failure;
use crate::testbed::{Log, Testbed};

/// The stores.
#[derive(Clone, Debug)]
pub struct Stores {
    /// Calls with every outcome that a store returns by itself.
    pub calls: Store<ReadWrite>,
    /// Decisions on the same log.
    pub decisions: Store<ReadWrite>,
    /// Reads of the same log from the replicas.
    pub replicas: Store<ReadOnly>,
    /// Reads of the same log, from the primary if the replicas are behind or unreachable.
    pub fallback: Store<ReadOnly>,
    /// Calls that are dropped, time out or fail.
    pub unsteady: Store<ReadWrite>,
    /// The same operation again and again.
    pub repeated: Store<ReadWrite>,
    /// The command handlers of the library.
    pub commands: Store<ReadWrite>,
    /// The query handlers of the library.
    pub queries: Store<ReadOnly>,
}

/// The names of the stores.
pub mod names {
    /// The name of [`Stores::calls`](super::Stores::calls).
    pub const CALLS: &str = "calls";
    /// The name of [`Stores::decisions`](super::Stores::decisions).
    pub const DECISIONS: &str = "decisions";
    /// The name of [`Stores::replicas`](super::Stores::replicas).
    pub const REPLICAS: &str = "replicas";
    /// The name of [`Stores::fallback`](super::Stores::fallback).
    pub const FALLBACK: &str = "fallback";
    /// The name of [`Stores::unsteady`](super::Stores::unsteady).
    pub const UNSTEADY: &str = "unsteady";
    /// The name of [`Stores::repeated`](super::Stores::repeated).
    pub const REPEATED: &str = "repeated";
    /// The name of [`Stores::commands`](super::Stores::commands).
    pub const COMMANDS: &str = "commands";
    /// The name of [`Stores::queries`](super::Stores::queries).
    pub const QUERIES: &str = "queries";
    /// All names.
    pub const ALL: [&str; 8] =
        [CALLS, DECISIONS, REPLICAS, FALLBACK, UNSTEADY, REPEATED, COMMANDS, QUERIES];
}

impl Stores {
    /// Connects all stores, each with at most this number of connections to a server.
    ///
    /// # Errors
    ///
    /// [`Failure::Store`].
    pub async fn connect(
        testbed: &Testbed,
        telemetry: &Telemetry,
        clients: u32,
    ) -> Result<Self, Failure> {
        let named = |config: Config, name: &str| {
            config.name(name).telemetry(telemetry.clone()).max_connections(clients)
        };
        let writer = async |log, name, policy: RetryPolicyBuilder| {
            let policy = policy.build().map_err(Failure::store("make a policy"))?;
            let config = named(testbed.config(log)?, name).retry(policy);
            let connected = Store::<ReadWrite>::connect(config).await;
            connected.map_err(Failure::store("connect to the primary"))
        };
        let reader = async |config: Config| {
            let connected = Store::<ReadOnly>::connect(config).await;
            connected.map_err(Failure::store("connect to the replicas"))
        };
        let primary = testbed.url(testbed.primary());
        let fallback = testbed.replica_config(Log::Calls)?.primary(&primary, Fallback::WhenBehind);
        let fallback = fallback.map_err(Failure::store("use the primary"))?;
        let fallback = fallback.replica_timeout(FALLBACK_AFTER);
        let eager = RetryPolicy::builder().attempts(20).escalate_after(ROUNDS_BEFORE_LOCK as u32);
        Ok(Self {
            calls: writer(Log::Calls, names::CALLS, RetryPolicy::builder()).await?,
            decisions: writer(Log::Calls, names::DECISIONS, eager).await?,
            replicas: reader(named(testbed.replica_config(Log::Calls)?, names::REPLICAS)).await?,
            fallback: reader(named(fallback, names::FALLBACK)).await?,
            unsteady: writer(Log::Unsteady, names::UNSTEADY, RetryPolicy::builder()).await?,
            repeated: writer(Log::Repeated, names::REPEATED, RetryPolicy::builder()).await?,
            commands: writer(Log::Library, names::COMMANDS, RetryPolicy::builder()).await?,
            queries: reader(named(testbed.replica_config(Log::Library)?, names::QUERIES)).await?,
        })
    }
}

/// The rounds after which a decision takes the log's lock.
pub const ROUNDS_BEFORE_LOCK: u64 = 2;
/// How long a read with a fallback waits for a replica.
const FALLBACK_AFTER: Duration = Duration::from_millis(50);

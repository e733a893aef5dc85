//! The servers of a load.

use std::path::PathBuf;
use std::time::Duration;

use console::print_stderr;
use eddyline::retry::Retry;
use eddyline::{Config, Error, ReadOnly, ReadWrite, RetryPolicy, Schema, Store};
use local_postgres::Cluster;

use crate::LoadError;

/// How to find or start the servers.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// The address of the primary. Without it, a cluster is started on this machine.
    pub primary: Option<String>,
    /// The addresses of the replicas, if there is an address of the primary.
    pub replica_addresses: Vec<String>,
    /// The number of replicas to start.
    pub replicas: u16,
    /// The folder of the PostgreSQL programs.
    pub pg_bin: Option<PathBuf>,
    /// The name of the log.
    pub log: String,
    /// The number of clients.
    pub clients: u32,
}

/// The servers of the load. If the load generator started them, they stop when it is dropped.
pub struct Servers {
    primary: Config,
    replicas: Vec<Config>,
    /// The replicas, as one configuration.
    reader: Config,
    /// Stops the servers when it is dropped.
    cluster: Option<Cluster>,
}

/// The stores of the clients.
pub struct Stores {
    /// Writes to the primary.
    pub writer: Store<ReadWrite>,
    /// Reads from all replicas.
    pub reader: Store<ReadOnly>,
}

/// Stores that read the whole log, each from one server.
pub struct AuditStores {
    /// Reads from the primary.
    pub primary: Store<ReadOnly>,
    /// Each reads from one replica.
    pub replicas: Vec<Store<ReadOnly>>,
}

impl Servers {
    /// Uses the servers in the arguments, or starts a primary and replicas if there are none.
    pub async fn open(settings: &ServerSettings) -> Result<Self, LoadError> {
        match &settings.primary {
            Some(primary) => Self::at(primary, &settings.replica_addresses, settings, None),
            None => Self::start(settings).await,
        }
    }

    async fn start(settings: &ServerSettings) -> Result<Self, LoadError> {
        let programs = local_postgres::find_or_install(settings.pg_bin.as_deref(), print_stderr)
            .await
            .map_err(LoadError::Cluster)?;
        print_stderr(&format!(
            "starting PostgreSQL {} from {} in a temporary folder: a primary and {} replicas",
            programs.version(),
            programs.directory().display(),
            settings.replicas,
        ));
        let cluster = Cluster::builder()
            .programs(programs)
            .standbys(settings.replicas.into())
            .max_connections(settings.clients + SPARE_CONNECTIONS)
            .start()
            .await
            .map_err(LoadError::Cluster)?;
        cluster.create_database(DATABASE).await.map_err(LoadError::Cluster)?;

        let primary = cluster.primary().url(DATABASE);
        let replicas: Vec<_> = match cluster.standbys() {
            [] => vec![primary.clone()],
            standbys => standbys.iter().map(|standby| standby.url(DATABASE)).collect(),
        };
        Self::at(&primary, &replicas, settings, Some(cluster))
    }

    fn at(
        primary: &str,
        replicas: &[String],
        settings: &ServerSettings,
        cluster: Option<Cluster>,
    ) -> Result<Self, LoadError> {
        let retry = RetryPolicy::from_env().map_err(LoadError::Store)?;
        let config = |url: &str| {
            let config = Config::new(url).map_err(LoadError::Store)?;
            Ok(config.log(&settings.log).max_connections(settings.clients).retry(retry.clone()))
        };
        let (first, others) =
            replicas.split_first().expect("the arguments require a replica if there is a primary");
        let reader = others
            .iter()
            .try_fold(config(first)?, |config, url| config.replica(url))
            .map_err(LoadError::Store)?;
        Ok(Self {
            primary: config(primary)?,
            replicas: replicas.iter().map(|url| config(url)).collect::<Result<_, _>>()?,
            reader,
            cluster,
        })
    }

    /// Returns the CPU time of the primary so far, if the load generator started it and the system
    /// tells it.
    pub fn primary_cpu_time(&self) -> Option<Duration> {
        self.cluster.as_ref()?.primary().cpu_time().ok()
    }

    /// Creates the log if it does not exist, and connects.
    pub async fn connect(&self) -> Result<Stores, LoadError> {
        Schema::new(&self.primary).migrate().await.map_err(LoadError::Store)?;
        let writer = Store::<ReadWrite>::connect(self.primary.clone()).await;
        Ok(Stores {
            writer: writer.map_err(LoadError::Store)?,
            reader: connect_replica(self.reader.clone()).await?,
        })
    }

    /// Connects to each server with a store of its own. These connections are new: the state in
    /// which the load left its connections does not matter.
    pub async fn connect_for_audit(&self) -> Result<AuditStores, LoadError> {
        let mut replicas = Vec::new();
        for replica in &self.replicas {
            replicas.push(connect_audit_store(replica).await?);
        }
        Ok(AuditStores { primary: connect_audit_store(&self.primary).await?, replicas })
    }
}

/// Connects to replicas as soon as they have the log.
async fn connect_replica(config: Config) -> Result<Store<ReadOnly>, LoadError> {
    connect_with_retry(config, |error| matches!(error, Error::SchemaMissing { .. })).await
}

/// Connects to a server for the audit. Transient errors are retried as well: the server may still
/// count connections that the load has just closed, and have none free.
async fn connect_audit_store(config: &Config) -> Result<Store<ReadOnly>, LoadError> {
    let is_retried =
        |error: &Error| matches!(error, Error::SchemaMissing { .. }) || error.is_transient();
    connect_with_retry(audit_config(config), is_retried).await
}

/// Connects a read-only store. Retries the errors for which `is_retried` returns true, up to a
/// deadline.
async fn connect_with_retry(
    config: Config,
    is_retried: impl Fn(&Error) -> bool,
) -> Result<Store<ReadOnly>, LoadError> {
    let policy = RetryPolicy::builder()
        .attempts(u32::MAX)
        .base_delay(RETRY_DELAY)
        .max_delay(RETRY_DELAY)
        .deadline(REPLAY_TIMEOUT)
        .no_budget()
        .build()
        .map_err(LoadError::Store)?;
    Retry::new(&policy, || Store::<ReadOnly>::connect(config.clone()))
        .when(is_retried)
        .await
        .into_result()
        .map_err(|failed| LoadError::Store(failed.into()))
}

/// Returns the configuration for an audit. Its statement timeout is long, since the audit reads the
/// whole log.
fn audit_config(config: &Config) -> Config {
    config
        .clone()
        .max_connections(1)
        .statement_timeout(Duration::from_secs(3_600))
        .replica_timeout(REPLAY_TIMEOUT)
}

const DATABASE: &str = "library";
/// The connections for replication, the audit and manual queries, in addition to those of the
/// clients.
const SPARE_CONNECTIONS: u32 = 30;
/// The longest time for a replica to replay what the primary has committed, and for a connection
/// attempt to succeed.
const REPLAY_TIMEOUT: Duration = Duration::from_secs(30);
const RETRY_DELAY: Duration = Duration::from_millis(50);

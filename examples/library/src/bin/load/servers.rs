use std::time::Duration;

use console::tell;
use eddyline::retry::Retry;
use eddyline::{Config, Error, ReadOnly, ReadWrite, RetryPolicy, Schema, Store};
use local_postgres::Cluster;

use crate::args::Args;
use crate::failure::Failure;

/// Knows the servers of the load, and keeps those alive that it started.
pub(crate) struct Servers {
    primary: Config,
    replicas: Vec<Config>,
    readers: Config,
    /// Ends the servers when it is dropped.
    _cluster: Option<Cluster>,
}

/// Holds the stores that the clients work with.
pub(crate) struct Stores {
    /// Works on the primary.
    pub(crate) writer: Store<ReadWrite>,
    /// Works on all replicas.
    pub(crate) reader: Store<ReadOnly>,
}

/// Holds stores that read the whole log, each from one server.
pub(crate) struct Auditors {
    pub(crate) primary: Store<ReadOnly>,
    pub(crate) replicas: Vec<Store<ReadOnly>>,
}

impl Servers {
    /// Takes the servers that were given, or starts some.
    pub(crate) async fn open(args: &Args) -> Result<Self, Failure> {
        match &args.primary {
            Some(primary) => Self::at(primary, &args.replica, args, None),
            None => Self::start(args).await,
        }
    }

    async fn start(args: &Args) -> Result<Self, Failure> {
        let programs = local_postgres::find_or_install(args.pg_bin.as_deref(), tell)
            .await
            .map_err(Failure::Cluster)?;
        tell(&format!(
            "starting PostgreSQL {} of {} in a temporary folder: a primary and {REPLICAS} replicas",
            programs.version(),
            programs.directory().display(),
        ));
        let cluster = Cluster::builder()
            .programs(programs)
            .standbys(REPLICAS)
            .max_connections(args.clients + SPARE_CONNECTIONS)
            .start()
            .await
            .map_err(Failure::Cluster)?;
        cluster.create_database(DATABASE).await.map_err(Failure::Cluster)?;

        let replicas: Vec<_> =
            cluster.standbys().iter().map(|standby| standby.url(DATABASE)).collect();
        Self::at(&cluster.primary().url(DATABASE), &replicas, args, Some(cluster))
    }

    fn at(
        primary: &str,
        replicas: &[String],
        args: &Args,
        cluster: Option<Cluster>,
    ) -> Result<Self, Failure> {
        let retry = RetryPolicy::from_env().map_err(Failure::Store)?;
        let config = |url: &str| {
            let config = Config::new(url).map_err(Failure::Store)?;
            Ok(config.log(&args.log).max_connections(args.clients).retry(retry.clone()))
        };
        let (first, others) = replicas.split_first().expect("a primary comes with a replica");
        let readers = others
            .iter()
            .try_fold(config(first)?, |config, url| config.replica(url))
            .map_err(Failure::Store)?;
        Ok(Self {
            primary: config(primary)?,
            replicas: replicas.iter().map(|url| config(url)).collect::<Result<_, _>>()?,
            readers,
            _cluster: cluster,
        })
    }

    /// Creates the log where there is none, and connects.
    pub(crate) async fn connect(&self) -> Result<Stores, Failure> {
        Schema::new(&self.primary).migrate().await.map_err(Failure::Store)?;
        let writer = Store::<ReadWrite>::connect(self.primary.clone()).await;
        Ok(Stores {
            writer: writer.map_err(Failure::Store)?,
            reader: connect_replica(self.readers.clone()).await?,
        })
    }

    /// Connects to each server by itself. The connections are new, so that what the load did to its own
    /// does not matter.
    pub(crate) async fn auditors(&self) -> Result<Auditors, Failure> {
        let mut replicas = Vec::new();
        for replica in &self.replicas {
            replicas.push(connect_auditor(replica).await?);
        }
        Ok(Auditors { primary: connect_auditor(&self.primary).await?, replicas })
    }
}

/// Connects to replicas, once they have the log.
async fn connect_replica(config: Config) -> Result<Store<ReadOnly>, Failure> {
    connect_when(config, |error| matches!(error, Error::SchemaMissing { .. })).await
}

/// Connects to a server for the audit. The server may still count connections of the load that have
/// just been closed, and have none to spare.
async fn connect_auditor(config: &Config) -> Result<Store<ReadOnly>, Failure> {
    let passes =
        |error: &Error| matches!(error, Error::SchemaMissing { .. }) || error.is_transient();
    connect_when(for_audit(config), passes).await
}

/// Connects to replicas, again while what is in the way passes by itself.
async fn connect_when(
    config: Config,
    passes: impl Fn(&Error) -> bool,
) -> Result<Store<ReadOnly>, Failure> {
    let policy = RetryPolicy::builder()
        .attempts(u32::MAX)
        .base_delay(PAUSE)
        .max_delay(PAUSE)
        .deadline(PATIENCE)
        .no_budget()
        .build()
        .map_err(Failure::Store)?;
    Retry::new(&policy, || Store::<ReadOnly>::connect(config.clone()))
        .when(passes)
        .await
        .into_result()
        .map_err(|failed| Failure::Store(failed.into()))
}

/// Reads a log from end to end, which takes as long as it takes.
fn for_audit(config: &Config) -> Config {
    config
        .clone()
        .max_connections(1)
        .statement_timeout(Duration::from_secs(3_600))
        .replica_timeout(PATIENCE)
}

const DATABASE: &str = "library";
const REPLICAS: usize = 2;
/// What the servers themselves, the audit and a curious person need beside the clients.
const SPARE_CONNECTIONS: u32 = 30;
/// How long a replica may take to have what the primary has.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);

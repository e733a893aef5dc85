//! The servers of a load.

mod connect;
mod embedded;
mod roles;
mod settings;
mod sql;

use std::sync::Arc;

use eddyline::{Config, ReadOnly, ReadWrite, RetryPolicy, Schema, Store, Telemetry};

pub use self::embedded::{Embedded, READER};
pub use self::roles::{Roles, ServerName, UnknownName};
pub use self::settings::{Preparations, ServerSettings};
pub use self::sql::{SqlAddress, SqlFailure};

pub use self::connect::add_replica;
use self::connect::{connect_audit_store, connect_replica};
use self::embedded::WRITER;
use crate::LoadError;

/// The servers of the load. If the load generator started them, they stop when the last clone is
/// dropped.
#[derive(Clone)]
pub struct Servers {
    location: Location,
    log: String,
    clients: u32,
    retry: RetryPolicy,
    telemetry: Option<Telemetry>,
}

/// Where the servers are.
#[derive(Clone)]
enum Location {
    Embedded(Arc<Embedded>),
    Given { primary: String, replicas: Vec<String> },
}

/// The stores of the clients.
#[derive(Clone, Debug)]
pub struct Stores {
    /// Writes to the primary.
    pub writer: Store<ReadWrite>,
    /// Reads from all replicas.
    pub reader: Store<ReadOnly>,
}

/// Stores that read the whole log, each from one server.
#[derive(Debug)]
pub struct AuditStores {
    /// Reads from the primary.
    pub primary: Store<ReadOnly>,
    /// Each reads from one replica.
    pub replicas: Vec<(ServerName, Store<ReadOnly>)>,
    /// The replicas that cannot be reached, each with the cause.
    pub gone: Vec<(ServerName, LoadError)>,
}

impl Servers {
    /// Uses the servers in the settings, or starts a primary and replicas if there are none.
    ///
    /// # Errors
    ///
    /// [`LoadError::Store`] for an address that a store refuses. If servers are started,
    /// [`LoadError::Cluster`], [`LoadError::Proxy`] and [`LoadError::Sql`].
    ///
    /// # Cancel safety
    ///
    /// If dropped, the servers started so far stop.
    pub async fn open(
        settings: &ServerSettings,
        preparations: &Preparations,
    ) -> Result<Self, LoadError> {
        let retry = RetryPolicy::from_env().map_err(LoadError::Store)?;
        let location = match &settings.primary {
            Some(primary) => Location::Given {
                primary: primary.clone(),
                replicas: settings.replica_addresses.clone(),
            },
            None => Location::Embedded(Arc::new(Embedded::start(settings, preparations).await?)),
        };
        let (log, clients) = (settings.log.clone(), settings.clients);
        let servers = Self { location, log, clients, retry, telemetry: None };
        // An address or a name that stores refuse is reported before a log is created.
        drop((servers.writer_config()?, servers.reader_config()?));
        Ok(servers)
    }

    /// Sets the instruments of the stores of the clients. Defaults to none. The stores of the audit
    /// have none: what they read is not part of the load.
    pub fn telemetry(self, telemetry: Option<Telemetry>) -> Self {
        Self { telemetry, ..self }
    }

    /// Returns the servers that the load generator started.
    pub fn embedded(&self) -> Option<&Arc<Embedded>> {
        match &self.location {
            Location::Embedded(embedded) => Some(embedded),
            Location::Given { .. } => None,
        }
    }

    /// Returns the quoted name of the log's table.
    pub fn table(&self) -> String {
        format!("\"public\".\"{}\"", self.log.replace('"', "\"\""))
    }

    /// Creates the log if it does not exist, and connects.
    ///
    /// # Errors
    ///
    /// [`LoadError::Store`], [`LoadError::Cluster`].
    ///
    /// # Cancel safety
    ///
    /// Can be dropped at any time.
    pub async fn connect(&self) -> Result<Stores, LoadError> {
        match self.embedded() {
            Some(embedded) => {
                let owner = self.config(&embedded.url(embedded.roles().primary()))?;
                let schema = Schema::new(&owner).writer_role(WRITER).reader_role(READER);
                schema.migrate().await.map_err(LoadError::Store)?;
                embedded.wait_for_replay().await.map_err(LoadError::Cluster)?;
            }
            None => {
                let schema = Schema::new(&self.writer_config()?);
                schema.migrate().await.map_err(LoadError::Store)?;
            }
        }
        let writer = Store::<ReadWrite>::connect(self.writer_config()?).await;
        Ok(Stores {
            writer: writer.map_err(LoadError::Store)?,
            reader: connect_replica(self.reader_config()?).await?,
        })
    }

    /// Connects to each server with a store of its own: to the current primary and the current
    /// replicas. These connections are new: the state in which the load left its connections does
    /// not matter.
    ///
    /// # Errors
    ///
    /// [`LoadError::Store`] if the primary cannot be reached. The replicas that cannot be reached
    /// are in [`AuditStores::gone`].
    ///
    /// # Cancel safety
    ///
    /// Can be dropped at any time.
    pub async fn connect_for_audit(&self) -> Result<AuditStores, LoadError> {
        let (primary, addresses): (_, Vec<_>) = match &self.location {
            Location::Embedded(embedded) => {
                let roles = embedded.roles();
                let replicas = roles.replicas();
                let replicas = replicas.map(|(number, index)| (number, embedded.url(index)));
                (embedded.url(roles.primary()), replicas.collect())
            }
            Location::Given { primary, replicas } => {
                (primary.clone(), (0..).zip(replicas.iter().cloned()).collect())
            }
        };
        let (mut replicas, mut gone) = (Vec::new(), Vec::new());
        for (number, address) in addresses {
            let name = ServerName::Replica(number);
            match connect_audit_store(&self.config(&address)?).await {
                Ok(replica) => replicas.push((name, replica)),
                Err(error) => gone.push((name, error)),
            }
        }
        let primary = connect_audit_store(&self.config(&primary)?).await?;
        Ok(AuditStores { primary, replicas, gone })
    }

    /// Returns the addresses of all servers for plain SQL, by their indexes.
    pub fn sql(&self) -> Vec<SqlAddress> {
        match &self.location {
            Location::Embedded(embedded) => {
                let roles = embedded.roles();
                let servers = (0..).take_while(|index| !roles.names(*index).is_empty());
                let address = |index| SqlAddress::new(roles.names(index)[0], embedded.url(index));
                servers.map(address).collect()
            }
            Location::Given { primary, replicas } => {
                let replicas = (0..).zip(replicas);
                let replicas = replicas.map(|(number, url)| (ServerName::Replica(number), url));
                let servers = [(ServerName::Primary, primary)].into_iter().chain(replicas);
                servers.map(|(name, url)| SqlAddress::new(name, url.clone())).collect()
            }
        }
    }

    fn writer_config(&self) -> Result<Config, LoadError> {
        let config = match &self.location {
            Location::Embedded(embedded) => self.config(&embedded.writer_url()),
            Location::Given { primary, .. } => self.config(primary),
        };
        config.map(|config| self.with_telemetry(config, WRITER_STORE))
    }

    /// Returns the configuration of a store that reads from all replicas, or from the primary if
    /// there are none.
    fn reader_config(&self) -> Result<Config, LoadError> {
        let urls: Vec<_> = match &self.location {
            Location::Embedded(embedded) => {
                let roles = embedded.roles();
                roles.replicas().map(|(_, index)| embedded.reader_url(index)).collect()
            }
            Location::Given { replicas, .. } => replicas.clone(),
        };
        let first = match (urls.first(), &self.location) {
            (Some(first), _) => first.clone(),
            (None, Location::Embedded(embedded)) => embedded.reader_url(embedded.roles().primary()),
            (None, Location::Given { primary, .. }) => primary.clone(),
        };
        let mut others = urls.iter().skip(1);
        let config = self.with_telemetry(self.config(&first)?, READER_STORE);
        others.try_fold(config, |config, url| config.replica(url)).map_err(LoadError::Store)
    }

    /// Adds the instruments, which tell stores apart by their names.
    fn with_telemetry(&self, config: Config, store: &str) -> Config {
        let config = config.name(store);
        match &self.telemetry {
            Some(telemetry) => config.telemetry(telemetry.clone()),
            None => config,
        }
    }

    fn config(&self, url: &str) -> Result<Config, LoadError> {
        let config = Config::new(url).map_err(LoadError::Store)?;
        Ok(config.log(&self.log).max_connections(self.clients).retry(self.retry.clone()))
    }
}

/// The names of the stores of the clients in metrics.
const WRITER_STORE: &str = "commands";
const READER_STORE: &str = "queries";

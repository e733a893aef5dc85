//! The servers.

use std::path::Path;

use console::print_stderr;
use eddyline::{Config, Schema};
use local_postgres::{Cluster, Server, find_or_install};
use tokio_postgres::{Client, NoTls};

use crate::Failure;

/// A primary and two replicas with statistics of statements, and a log for each use.
#[derive(Debug)]
pub struct Testbed {
    cluster: Cluster,
}

/// A log, by what it is used for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Log {
    /// Calls with every outcome that a store returns by itself.
    Calls,
    /// The load generator's library.
    Library,
    /// The same operation again and again.
    Repeated,
    /// Calls that are dropped, time out or fail.
    Unsteady,
}

impl Log {
    /// All logs.
    pub const ALL: [Self; 4] = [Self::Calls, Self::Library, Self::Repeated, Self::Unsteady];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Library => "library",
            Self::Repeated => "repeated",
            Self::Unsteady => "unsteady",
        }
    }
}

impl Testbed {
    /// Starts the servers and creates the logs.
    ///
    /// # Errors
    ///
    /// [`Failure`] if the servers or the logs cannot be made.
    pub async fn start(pg_bin: Option<&Path>, connections: u32) -> Result<Self, Failure> {
        let programs = find_or_install(pg_bin, print_stderr).await?;
        let version = programs.version();
        print_stderr(&format!("starting a primary and two replicas of PostgreSQL {version}"));
        let cluster = Cluster::builder()
            .programs(programs)
            .standbys(2)
            .max_connections(connections)
            .shared_buffers("256MB")
            .setting("shared_preload_libraries", "pg_stat_statements")
            .setting("pg_stat_statements.track_planning", "on")
            .start()
            .await?;
        cluster.create_database(DATABASE).await?;
        let testbed = Self { cluster };
        let client = testbed.sql(testbed.primary()).await?;
        let created = client.batch_execute("CREATE EXTENSION pg_stat_statements").await;
        created.map_err(Failure::sql("create pg_stat_statements"))?;
        for log in Log::ALL {
            let config = testbed.config(log)?;
            Schema::new(&config).migrate().await.map_err(Failure::store("create a log"))?;
        }
        testbed.cluster.wait_for_replay().await?;
        Ok(testbed)
    }

    /// Returns the primary.
    pub fn primary(&self) -> &Server {
        self.cluster.primary()
    }

    /// Returns the replicas.
    pub fn replicas(&self) -> &[Server] {
        self.cluster.standbys()
    }

    /// Returns the configuration of a store of a log on the primary.
    ///
    /// # Errors
    ///
    /// [`Failure::Store`].
    pub fn config(&self, log: Log) -> Result<Config, Failure> {
        let config = Config::new(&self.url(self.primary()));
        Ok(config.map_err(Failure::store("use the primary"))?.log(log.name()))
    }

    /// Returns the configuration of a store of a log on the replicas.
    ///
    /// # Errors
    ///
    /// [`Failure::Store`].
    pub fn replica_config(&self, log: Log) -> Result<Config, Failure> {
        let [first, second] = self.replicas() else { unreachable!("two replicas were started") };
        let config = Config::new(&self.url(first));
        let config = config.and_then(|config| config.replica(self.url(second).as_str()));
        Ok(config.map_err(Failure::store("use the replicas"))?.log(log.name()))
    }

    /// Returns the address of the database on a server.
    pub fn url(&self, server: &Server) -> String {
        server.url(DATABASE)
    }

    /// Opens a connection of the program's own to a server.
    ///
    /// # Errors
    ///
    /// [`Failure::Sql`].
    pub async fn sql(&self, server: &Server) -> Result<Client, Failure> {
        let connected = tokio_postgres::connect(&self.url(server), NoTls).await;
        let (client, connection) = connected.map_err(Failure::sql("connect to a server"))?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Waits until the replicas have replayed all commits before this call.
    ///
    /// # Errors
    ///
    /// [`Failure::Cluster`].
    pub async fn wait_for_replay(&self) -> Result<(), Failure> {
        Ok(self.cluster.wait_for_replay().await?)
    }
}

const DATABASE: &str = "truth";

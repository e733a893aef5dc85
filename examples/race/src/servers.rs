//! The servers of a race.

use std::time::Duration;

use console::print_stderr;
use local_postgres::{Cluster, find_or_install};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_postgres::types::Type;

use crate::args::Args;
use crate::failure::Failure;
use crate::message::Server;
use crate::protocol::ProtocolName;
use crate::sql;

/// The addresses of the servers. `Debug` does not print them, because they may contain passwords.
#[derive(Clone, Deserialize, Serialize)]
pub struct Addresses {
    pub primary: String,
    pub replica: Option<String>,
}

impl Addresses {
    /// Returns the roles of the available servers.
    pub fn servers(&self) -> Vec<Server> {
        let replica = self.replica.is_some().then_some(Server::Replica);
        [Server::Primary].into_iter().chain(replica).collect()
    }

    /// Returns the address of a server.
    pub fn of(&self, server: Server) -> Option<&str> {
        match server {
            Server::Primary => Some(&self.primary),
            Server::Replica => self.replica.as_deref(),
        }
    }
}

impl std::fmt::Debug for Addresses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.servers()).finish()
    }
}

/// The servers, with an empty log.
pub struct Servers {
    pub addresses: Addresses,
    protocol: ProtocolName,
    /// The cluster that the race started, if any. It stops when this is dropped.
    _cluster: Option<Cluster>,
}

impl Servers {
    /// Starts a cluster unless addresses were given, and creates the log.
    pub async fn prepare(args: &Args) -> Result<Self, Failure> {
        let (addresses, cluster) = match &args.primary {
            Some(primary) => {
                let (primary, replica) = (primary.clone(), args.replica.clone());
                (Addresses { primary, replica }, None)
            }
            None => start(args).await?,
        };
        let servers = Self { addresses, protocol: args.protocol, _cluster: cluster };
        servers.drop_log().await?;
        servers.protocol.create(&servers.addresses).await?;
        servers.wait_for_replica().await?;
        Ok(servers)
    }

    /// Drops the log.
    pub async fn drop_log(&self) -> Result<(), Failure> {
        let text = format!("DROP SCHEMA IF EXISTS {} CASCADE", self.protocol.table().schema);
        let client = sql::connect(&self.addresses.primary).await?;
        client.batch_execute(&text).await.map_err(Failure::sql("drop the log of an earlier race"))
    }

    async fn wait_for_replica(&self) -> Result<(), Failure> {
        let Some(replica) = &self.addresses.replica else { return Ok(()) };
        let failed = Failure::sql("look for the log on the replica");
        let oid = "SELECT coalesce(to_regclass($1)::oid::bigint, 0)";
        let table = self.protocol.table().sql();
        let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 1] =
            [(&table, Type::TEXT)];
        let primary = sql::connect(&self.addresses.primary).await?;
        let made = sql::query_numbers(&primary, oid, &params).await.map_err(&failed)?;
        let replica = sql::connect(replica).await?;
        let deadline = Instant::now() + TIMEOUT;
        // The log of an earlier race, which the replica may still have, has another oid.
        while sql::query_numbers(&replica, oid, &params).await.map_err(&failed)? != made {
            if Instant::now() >= deadline {
                return Err(Failure::TimedOut {
                    what: "the replica".to_owned(),
                    action: "receive the log's tables",
                    seconds: TIMEOUT.as_secs(),
                });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

async fn start(args: &Args) -> Result<(Addresses, Option<Cluster>), Failure> {
    let programs =
        find_or_install(args.pg_bin.as_deref(), print_stderr).await.map_err(Failure::Cluster)?;
    print_stderr(&format!("starting a primary and a replica of PostgreSQL {}", programs.version()));
    let cluster = Cluster::builder()
        .programs(programs)
        .standbys(1)
        .max_connections(CONNECTIONS)
        .start()
        .await
        .map_err(Failure::Cluster)?;
    cluster.create_database(DATABASE).await.map_err(Failure::Cluster)?;
    let isolation = args.isolation.sql().to_lowercase();
    let text =
        format!("ALTER DATABASE {DATABASE} SET default_transaction_isolation TO '{isolation}'");
    let primary = sql::connect(&cluster.primary().url(DATABASE)).await?;
    primary.batch_execute(&text).await.map_err(Failure::sql("set the isolation level"))?;
    cluster.wait_for_replay().await.map_err(Failure::Cluster)?;
    let addresses = Addresses {
        primary: cluster.primary().url(DATABASE),
        replica: cluster.standbys().first().map(|standby| standby.url(DATABASE)),
    };
    Ok((addresses, Some(cluster)))
}

const CONNECTIONS: u32 = 500;
const DATABASE: &str = "race";
const TIMEOUT: Duration = Duration::from_secs(30);

//! The servers.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use console::print_stderr;
use eddyline::{Config, Schema};
use fault_proxy::{Direction, Proxy};
use local_postgres::{Cluster, Server, find_or_install};

use crate::args::Args;
use crate::failure::Failure;
use crate::sql;

/// A primary and three standbys, with an empty log.
pub struct Testbed {
    cluster: Cluster,
    /// For each server the proxy through which read-only stores reach it if it is the primary.
    proxies: Vec<Proxy>,
    roles: Mutex<Roles>,
}

/// The numbers of the servers.
#[derive(Clone, Debug)]
pub struct Roles {
    pub primary: usize,
    pub replicas: Vec<usize>,
}

impl Testbed {
    pub async fn prepare(args: &Args) -> Result<Self, Failure> {
        let programs = find_or_install(args.pg_bin.as_deref(), print_stderr).await?;
        let version = programs.version();
        print_stderr(&format!(
            "starting a primary and {STANDBYS} standbys of PostgreSQL {version}"
        ));
        let cluster = Cluster::builder()
            .programs(programs)
            .standbys(STANDBYS)
            .fsync(!args.no_fsync)
            .max_connections(CONNECTIONS)
            // The audit reads the user of each statement.
            .setting("log_line_prefix", "%m [%p] %u ")
            // A standby that changes its primary may need older WAL.
            .setting("wal_keep_size", "256MB")
            .start()
            .await?;
        cluster.create_database(NAME).await?;
        let config =
            Config::new(&cluster.primary().url(NAME)).map_err(Failure::store("connect"))?;
        let schema = Schema::new(&config).writer_role(WRITER).reader_role(READER);
        schema.migrate().await.map_err(Failure::store("create the log"))?;
        let client = sql::connect(&cluster.primary().url(NAME)).await;
        let roles = format!(
            "CREATE ROLE {FALLBACK_READER} IN ROLE {READER};
             ALTER ROLE {WRITER} LOGIN; ALTER ROLE {READER} LOGIN;
             ALTER ROLE {FALLBACK_READER} LOGIN; ALTER ROLE {WRITER} SET log_statement = 'none'"
        );
        let created = client.map_err(Failure::sql("connect"))?.batch_execute(&roles).await;
        created.map_err(Failure::sql("create the roles"))?;
        cluster.wait_for_replay().await?;
        let mut proxies = Vec::new();
        for server in cluster.servers() {
            proxies
                .push(Proxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()))).await?);
        }
        let roles = Roles { primary: 0, replicas: (1..=STANDBYS).collect() };
        Ok(Self { cluster, proxies, roles: Mutex::new(roles) })
    }

    /// Returns the current roles of the servers.
    pub fn roles(&self) -> Roles {
        self.lock().clone()
    }

    /// Changes the roles of the servers.
    pub fn set_roles(&self, roles: Roles) {
        *self.lock() = roles;
    }

    /// Adds a server to the replicas.
    pub fn add_replica(&self, number: usize) {
        self.lock().replicas.push(number);
    }

    /// Returns a server.
    pub fn server(&self, number: usize) -> &Server {
        self.cluster.servers().nth(number).expect("there are as many servers")
    }

    /// Returns the address of a server, for a superuser.
    pub fn url(&self, number: usize) -> String {
        self.server(number).url(NAME)
    }

    /// Returns the address of a server for a user.
    pub fn address(&self, user: &str, number: usize) -> String {
        let server = self.server(number);
        format!("postgres://{user}@{}:{}/{NAME}", server.host(), server.port())
    }

    /// Returns the address at which writers find the primary among all servers.
    pub fn primary_of_writers(&self) -> String {
        let servers = self.cluster.servers();
        let hosts: Vec<_> = servers.map(|it| format!("{}:{}", it.host(), it.port())).collect();
        format!("postgres://{WRITER}@{}/{NAME}", hosts.join(","))
    }

    /// Returns the address at which a read-only store finds the primary among all servers, through
    /// the proxies.
    pub fn primary_of_readers(&self, user: &str) -> String {
        let hosts: Vec<_> = self.proxies.iter().map(|it| it.address().to_string()).collect();
        format!("postgres://{user}@{}/{NAME}", hosts.join(","))
    }

    /// Limits the bytes per second that each connection through the proxies receives.
    pub fn limit_answers(&self, bytes_per_second: Option<u64>) {
        for proxy in &self.proxies {
            proxy.limit_rate(Direction::ToClient, bytes_per_second);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Roles> {
        self.roles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name of the database.
const NAME: &str = "freshness";

const WRITER: &str = "freshness_writer";
/// The user of the stores that must not read from the primary.
pub const READER: &str = "freshness_reader";
/// The user of the store that may read from the primary as a last resort.
pub const FALLBACK_READER: &str = "freshness_fallback_reader";

const STANDBYS: usize = 3;
const CONNECTIONS: u32 = 300;

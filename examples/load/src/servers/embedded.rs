use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use console::print_stderr;
use fault_proxy::Proxy;
use local_postgres::{Builder, Cluster, Programs, Server};
use tokio_postgres::NoTls;

use super::{Preparations, Roles, ServerSettings};
use crate::LoadError;

/// A primary and replicas on this machine, which stop when this is dropped.
#[derive(Debug)]
pub struct Embedded {
    cluster: Cluster,
    roles: Mutex<Roles>,
    /// The proxies between the stores and the servers of these indexes.
    proxies: BTreeMap<usize, Proxy>,
    has_promotion: bool,
}

impl Embedded {
    /// Starts the servers, with an empty database and the roles of the stores.
    pub async fn start(
        settings: &ServerSettings,
        preparations: &Preparations,
    ) -> Result<Self, LoadError> {
        let programs = local_postgres::find_or_install(settings.pg_bin.as_deref(), print_stderr)
            .await
            .map_err(LoadError::Cluster)?;
        print_stderr(&format!(
            "starting PostgreSQL {} from {} in a temporary folder: a primary and {} replicas",
            programs.version(),
            programs.directory().display(),
            settings.replicas,
        ));
        let cluster = builder(programs, settings).start().await.map_err(LoadError::Cluster)?;
        cluster.create_database(DATABASE).await.map_err(LoadError::Cluster)?;
        prepare_database(&cluster).await?;
        let mut proxies = BTreeMap::new();
        for (index, server) in cluster.servers().enumerate() {
            if preparations.slowed.contains(&index) {
                let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()));
                proxies.insert(index, Proxy::start(address).await.map_err(LoadError::Proxy)?);
            }
        }
        let roles = Mutex::new(Roles::new(settings.replicas));
        let has_promotion = preparations.has_promotion;
        let embedded = Self { cluster, roles, proxies, has_promotion };
        if let Some(replica) = preparations.synchronous {
            print_stderr(&format!(
                "commits wait for {}, which will be promoted after the primary was killed",
                embedded.roles().names(replica)[0]
            ));
            embedded.wait_for_commits_of(replica).await.map_err(LoadError::Cluster)?;
        }
        Ok(embedded)
    }

    /// Returns the current roles of the servers.
    pub fn roles(&self) -> Roles {
        self.lock().clone()
    }

    /// Changes the roles of the servers.
    pub fn change_roles<T>(&self, change: impl FnOnce(&mut Roles) -> T) -> T {
        change(&mut self.lock())
    }

    /// Returns a server.
    pub fn server(&self, index: usize) -> &Server {
        self.cluster.servers().nth(index).expect("each index belongs to a server")
    }

    /// Returns the current primary.
    pub fn primary(&self) -> &Server {
        self.server(self.roles().primary())
    }

    /// Returns the proxy between the stores and a server, if there is one.
    pub fn proxy(&self, index: usize) -> Option<&Proxy> {
        self.proxies.get(&index)
    }

    /// Returns the address of the database on a server, for its superuser.
    pub fn url(&self, index: usize) -> String {
        self.server(index).url(DATABASE)
    }

    /// Returns the address at which a read-write store finds the primary: the primary's, or those
    /// of all servers if a replica will be promoted.
    pub fn writer_url(&self) -> String {
        let hosts: Vec<_> = match self.has_promotion {
            true => (0..self.cluster.servers().count()).map(|index| self.host(index)).collect(),
            false => vec![self.host(self.roles().primary())],
        };
        format!("postgres://{WRITER}@{}/{DATABASE}", hosts.join(","))
    }

    /// Returns the address at which a read-only store finds a server.
    pub fn reader_url(&self, index: usize) -> String {
        format!("postgres://{READER}@{}/{DATABASE}", self.host(index))
    }

    /// Waits until every running replica has replayed all commits before this call.
    pub async fn wait_for_replay(&self) -> Result<(), local_postgres::Error> {
        self.cluster.wait_for_replay().await
    }

    /// Makes the primary's commits wait until a replica has stored them.
    pub async fn wait_for_commits_of(&self, replica: usize) -> Result<(), local_postgres::Error> {
        let (primary, replica) = (self.primary(), self.server(replica));
        primary.set(SYNCHRONOUS, replica.name()).await?;
        // A commit that returns after this was sent to the replica, and so was all before it.
        replica.catch_up_with(primary).await
    }

    /// Makes no commit of a server wait for a replica.
    pub async fn wait_for_no_commits(&self, index: usize) -> Result<(), local_postgres::Error> {
        self.server(index).set(SYNCHRONOUS, "").await
    }

    /// Returns the host and port at which stores reach a server.
    fn host(&self, index: usize) -> String {
        match self.proxy(index) {
            Some(proxy) => proxy.address().to_string(),
            None => format!("{}:{}", self.server(index).host(), self.server(index).port()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Roles> {
        self.roles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn builder(programs: Programs, settings: &ServerSettings) -> Builder {
    let has_statistics = has_statement_statistics(&programs);
    let builder = Cluster::builder()
        .programs(programs)
        .standbys(settings.replicas.into())
        .fsync(settings.fsync)
        // A replica that becomes the primary has the connections of both stores for a moment.
        .max_connections(2 * settings.clients + SPARE_CONNECTIONS)
        .shared_buffers(shared_buffers())
        .setting("track_io_timing", "off")
        // A replica that changes its primary may need older WAL.
        .setting("wal_keep_size", "256MB");
    match has_statistics {
        true => builder.setting("shared_preload_libraries", STATEMENT_STATISTICS),
        false => builder,
    }
}

/// Returns whether the programs have the library for statistics of statements. A server that is
/// told to load a missing library does not start.
fn has_statement_statistics(programs: &Programs) -> bool {
    let Some(root) = programs.directory().parent() else { return false };
    let has_library = |folder: &Path| {
        let extensions = ["so", "dylib"].into_iter();
        extensions
            .map(|extension| folder.join(STATEMENT_STATISTICS).with_extension(extension))
            .any(|library| library.is_file())
    };
    LIBRARY_FOLDERS.iter().any(|folder| has_library(&root.join(folder)))
}

/// Returns the size of the buffers of each server, by the memory of the machine.
fn shared_buffers() -> String {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = total.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse().ok());
    let megabytes = kilobytes.unwrap_or(0_u64) / 1_024;
    format!("{}MB", (megabytes / SHARE_OF_BUFFERS).clamp(128, 512))
}

/// Creates the roles of the stores, and the statistics of statements if the server has them.
async fn prepare_database(cluster: &Cluster) -> Result<(), LoadError> {
    let url = cluster.primary().url(DATABASE);
    let failed = |action| move |source| LoadError::Sql { action, source };
    let connected = tokio_postgres::connect(&url, NoTls).await;
    let (client, connection) = connected.map_err(failed("connect to the primary"))?;
    tokio::spawn(connection);
    let roles = format!("CREATE ROLE {WRITER} LOGIN; CREATE ROLE {READER} LOGIN");
    client.batch_execute(&roles).await.map_err(failed("create the roles of the stores"))?;
    let is_loaded = "SELECT current_setting('shared_preload_libraries') = $1
         AND EXISTS (SELECT FROM pg_available_extensions WHERE name = $1)";
    let is_loaded = client.query_one(is_loaded, &[&STATEMENT_STATISTICS]).await;
    if is_loaded.and_then(|row| row.try_get(0)).map_err(failed("list its extensions"))? {
        let statement = format!("CREATE EXTENSION {STATEMENT_STATISTICS}");
        client.batch_execute(&statement).await.map_err(failed("create an extension"))?;
    }
    cluster.wait_for_replay().await.map_err(LoadError::Cluster)
}

/// The role of the read-only stores on servers that are started.
pub const READER: &str = "library_reader";
/// The role of the read-write stores on servers that are started.
pub const WRITER: &str = "library_writer";

const DATABASE: &str = "library";

/// The extension for statistics of statements.
const STATEMENT_STATISTICS: &str = "pg_stat_statements";

/// Where the libraries are, relative to the parent of the programs' folder.
const LIBRARY_FOLDERS: [&str; 4] = ["lib", "lib/postgresql", "lib64", "lib64/pgsql"];

const SYNCHRONOUS: &str = "synchronous_standby_names";

/// The connections for replication, the watchers, the observer, the audit and manual queries, in
/// addition to those of the clients.
const SPARE_CONNECTIONS: u32 = 40;

/// The memory of the machine divided by that of the buffers of one server.
const SHARE_OF_BUFFERS: u64 = 64;

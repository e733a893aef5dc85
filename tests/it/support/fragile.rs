//! A cluster for tests that stop, crash or freeze its primary.

use eddyline::{Config, Schema};
use local_postgres::Cluster;
use tokio::sync::{Mutex, MutexGuard, OnceCell};
use tokio_postgres::{Client, NoTls};

use super::{connect, next, wait_until};

/// A log on a primary that tests stop, crash and freeze, one test at a time. Its replica cancels
/// queries that conflict with replay immediately.
pub struct Fragile {
    pub cluster: MutexGuard<'static, Cluster>,
    pub log: String,
}

impl Fragile {
    /// Waits until no other test uses the cluster, and creates a log.
    pub async fn new() -> Self {
        static CLUSTER: OnceCell<Mutex<Cluster>> = OnceCell::const_new();
        let cluster =
            CLUSTER.get_or_init(|| async { Mutex::new(start().await) }).await.lock().await;
        // The previous test may have failed at any point.
        let primary = cluster.primary();
        if primary.is_running() {
            primary.sigcont().unwrap();
        }
        for server in cluster.servers() {
            server.start().await.unwrap();
        }
        // Crash recovery of the server takes a moment.
        let url = cluster.primary().url("postgres");
        wait_until(async || tokio_postgres::connect(&url, NoTls).await.is_ok()).await;
        let fragile = Self { cluster, log: format!("log_{}", next()) };
        let sql = fragile.sql().await;
        sql.batch_execute("ALTER SYSTEM RESET ALL").await.unwrap();
        sql.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        Schema::new(&fragile.config()).migrate().await.unwrap();
        fragile.cluster.wait_for_replay().await.unwrap();
        fragile
    }

    pub fn primary_url(&self) -> String {
        self.cluster.primary().url("postgres")
    }

    pub fn config(&self) -> Config {
        Config::new(&self.primary_url()).unwrap().log(&self.log)
    }

    /// Connects to the primary with `tokio_postgres` alone.
    pub async fn sql(&self) -> Client {
        connect(&self.primary_url()).await
    }
}

async fn start() -> Cluster {
    Cluster::builder()
        .standbys(1)
        .fsync(false)
        .setting("max_standby_streaming_delay", 0)
        .setting("wal_retrieve_retry_interval", "100ms")
        .start()
        .await
        .unwrap()
}

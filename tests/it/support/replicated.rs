//! A cluster with two replicas, for tests that stop replicas or pause their replay.

use eddyline::{Config, ReadOnly, ReadWrite, Schema, Store};
use local_postgres::Cluster;
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use super::{REPLAY_TIMEOUT, next};

/// A log on a primary with two replicas, which tests stop and pause, one test at a time.
pub struct Replicated {
    pub cluster: MutexGuard<'static, Cluster>,
    pub log: String,
}

impl Replicated {
    /// Waits until no other test uses the cluster, and creates a log.
    pub async fn new() -> Self {
        static CLUSTER: OnceCell<Mutex<Cluster>> = OnceCell::const_new();
        let cluster = CLUSTER
            .get_or_init(|| async {
                Mutex::new(Cluster::builder().standbys(2).fsync(false).start().await.unwrap())
            })
            .await
            .lock()
            .await;
        // The previous test may have failed at any point.
        for replica in cluster.standbys() {
            if replica.is_running() {
                replica.thaw().unwrap();
            }
            replica.start().await.unwrap();
            replica.resume_replay().await.unwrap();
        }
        let replicated = Self { cluster, log: format!("log_{}", next()) };
        Schema::new(&replicated.config()).migrate().await.unwrap();
        replicated.cluster.wait_for_replay().await.unwrap();
        replicated
    }

    pub fn config(&self) -> Config {
        Config::new(&self.cluster.primary().url("postgres")).unwrap().log(&self.log)
    }

    pub fn replica_config(&self) -> Config {
        let [first, second] = self.cluster.standbys() else { panic!("two replicas") };
        let config = Config::new(&first.url("postgres")).unwrap();
        config
            .replica(&second.url("postgres"))
            .unwrap()
            .log(&self.log)
            .replica_timeout(REPLAY_TIMEOUT)
    }

    pub async fn writer(&self) -> Store<ReadWrite> {
        Store::<ReadWrite>::connect(self.config()).await.unwrap()
    }

    pub async fn reader(&self) -> Store<ReadOnly> {
        Store::<ReadOnly>::connect(self.replica_config()).await.unwrap()
    }

    pub async fn pause_replay(&self) {
        for replica in self.cluster.standbys() {
            replica.pause_replay().await.unwrap();
        }
    }

    pub async fn resume_replay(&self) {
        for replica in self.cluster.standbys() {
            replica.resume_replay().await.unwrap();
        }
    }
}

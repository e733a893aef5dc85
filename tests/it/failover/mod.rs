//! Promotions: a read-write store with several hosts follows the promoted server, and leaves a
//! former primary that still takes writes.

mod former_primaries;
mod hosts;
mod promotions;

use std::collections::BTreeMap;
use std::time::Duration;

use eddyline::{AppendCondition, Config, Event, ReadWrite, RetryPolicy, SequenceNumber, Store};
use local_postgres::{Cluster, Server};

use crate::support::{FOREVER, cluster_with_log, connect, lent, promptly, wait_until};

/// A primary with standbys, which the store knows by the address of all of them.
struct Servers {
    cluster: Cluster,
}

impl Servers {
    /// Starts the servers and creates the log `events`.
    async fn start(standbys: usize) -> Self {
        Self { cluster: cluster_with_log(standbys).await }
    }

    fn primary(&self) -> &Server {
        self.cluster.primary()
    }

    fn standby(&self) -> &Server {
        &self.cluster.standbys()[0]
    }

    /// A configuration with all hosts, the old primary first, and without limits that a test
    /// reaches.
    fn config(&self) -> Config {
        config(self.cluster.servers().map(Server::port))
    }

    async fn store(&self) -> Store<ReadWrite> {
        Store::<ReadWrite>::connect(self.config()).await.unwrap()
    }

    /// Connects a store and appends an event, which all standbys have when this returns.
    async fn store_with_event(&self) -> Store<ReadWrite> {
        let store = self.store().await;
        append(&store, lent("b-1", "r-1")).await;
        self.cluster.wait_for_replay().await.unwrap();
        store
    }

    /// Makes the primary's commits wait for the new primary, which waits for no other.
    async fn make_synchronous(&self) {
        self.standby().set("synchronous_standby_names", "").await.unwrap();
        self.primary().set("synchronous_standby_names", self.standby().name()).await.unwrap();
        let sql = connect(&self.primary().url("postgres")).await;
        let state = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        wait_until(async || sql.query_one(state, &[]).await.unwrap().get::<_, i64>(0) == 1).await;
    }
}

/// A configuration with the hosts at these ports.
fn config(ports: impl IntoIterator<Item = u16>) -> Config {
    let hosts: Vec<_> = ports.into_iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let url = format!("postgres://postgres@{}/postgres", hosts.join(","));
    Config::new(&url).unwrap().watch_interval(Duration::from_millis(50)).retry(patient())
}

/// A retry policy with which only a final error ends a call.
fn patient() -> RetryPolicy {
    let policy = RetryPolicy::builder().attempts(1_000).no_budget();
    policy.attempt_timeout(FOREVER).deadline(FOREVER).build().unwrap()
}

async fn append(store: &Store<ReadWrite>, event: Event) -> SequenceNumber {
    promptly(store.append([event], AppendCondition::none())).await.unwrap().last()
}

/// Appends until an event arrives at a server, so that the store has seen its promotion.
async fn append_until_stored_at(store: &Store<ReadWrite>, server: &Server) {
    let before = books(server).await.len();
    wait_until(async || {
        append(store, lent("b-probe", "r-1")).await;
        books(server).await.len() > before
    })
    .await;
}

/// Returns the book of each event on a server.
async fn books(server: &Server) -> BTreeMap<u64, String> {
    let sql = connect(&server.url("postgres")).await;
    let text = "SELECT sequence_number, payload ->> 'BookID' FROM events";
    let rows = sql.query(text, &[]).await.unwrap();
    rows.iter().map(|row| (row.get::<_, i64>(0) as u64, row.get(1))).collect()
}

async fn is_standby(server: &Server) -> bool {
    let sql = connect(&server.url("postgres")).await;
    sql.query_one("SELECT pg_is_in_recovery()", &[]).await.unwrap().get(0)
}

/// Returns the backends of a server that an application of this name is connected to.
async fn backends(server: &Server, application: &str) -> Vec<i32> {
    let sql = connect(&server.url("postgres")).await;
    let pids = "SELECT pid FROM pg_stat_activity WHERE application_name = $1 ORDER BY pid";
    let rows = sql.query(pids, &[&application]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn connections(server: &Server, application: &str) -> usize {
    backends(server, application).await.len()
}

const POOLED: &str = "eddyline primary";
const WATCHER: &str = "eddyline primary watcher";

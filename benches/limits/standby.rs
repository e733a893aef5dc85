//! The cost of a synchronous standby. The bench starts a cluster of its own and switches its
//! standby between synchronous and asynchronous.

use std::sync::Arc;
use std::time::Duration;

use local_postgres::Cluster;
use tokio_postgres::Client;

use crate::Bench;
use crate::clients::{Plain, Writer};
use crate::cluster::{DATABASE, connect, set};
use crate::rounds::{Workload, clear_progress, show_progress};
use crate::seed::{config, copy_plain, create, fill};

pub async fn run(bench: &mut Bench) {
    let names = ["append/sync-standby/64", "append/sync-standby/64/plain"];
    let title = format!("append: {CLIENTS} clients, synchronous standby to asynchronous");
    if !bench.starts_part(&names, &title) {
        return;
    }
    show_progress("starting a cluster with a standby");
    let cluster = Cluster::builder()
        .standbys(1)
        .max_connections(300)
        .shared_buffers("256MB")
        .start()
        .await
        .expect("a cluster");
    cluster.create_database(DATABASE).await.expect("a database");
    let url = cluster.primary().url(DATABASE);
    let sql = Arc::new(connect(&url).await);
    create(&sql, &url, LOG).await;
    fill(&sql, LOG, EVENTS).await;
    copy_plain(&sql, LOG, PLAIN).await;
    clear_progress();
    let writer = Writer::open(config(&url, LOG)).await;
    let plain = Plain::open(&url, PLAIN, CLIENTS).await;
    let with = |workload: Workload, sync: bool| {
        let sql = sql.clone();
        workload.before(move || wait_for(sql.clone(), sync))
    };
    let workloads = [
        with(writer.workload("append, synchronous", CLIENTS), true),
        with(writer.workload("append, asynchronous", CLIENTS), false),
        with(plain.workload("plain INSERT, synchronous"), true),
        with(plain.workload("plain INSERT, asynchronous"), false),
    ];

    let results = bench.rounds.run(&workloads).await;

    for (name, pair) in names.iter().zip(results.chunks(2)) {
        bench.table.report(name, pair[0].rate_to(&pair[1]));
    }
}

/// Makes the standby synchronous or asynchronous, and waits until the primary treats it so.
async fn wait_for(sql: Arc<Client>, sync: bool) {
    set(&sql, "synchronous_standby_names", sync.then_some("*")).await;
    let wanted = if sync { "sync" } else { "async" };
    let text = "SELECT coalesce(max(sync_state), '') = $1 FROM pg_stat_replication";
    while !sql.query_one(text, &[&wanted]).await.expect("a state").get::<_, bool>(0) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

const CLIENTS: usize = 64;
const EVENTS: u64 = 10_000;
const LOG: &str = "log";
const PLAIN: &str = "plain";

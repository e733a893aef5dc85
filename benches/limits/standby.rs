//! What it costs to wait for a synchronous standby: a cluster of its own, whose standby is now
//! synchronous and now not.

use std::sync::Arc;
use std::time::Duration;

use local_postgres::Cluster;
use tokio_postgres::Client;

use crate::Bench;
use crate::clients::{Plain, Writer};
use crate::cluster::{DATABASE, connect, set};
use crate::rounds::{Contestant, done_telling, tell};
use crate::seed::{config, copy_plain, fill, make};

pub async fn run(bench: &mut Bench) {
    let names = ["append/sync-standby/64", "append/sync-standby/64/plain"];
    let title = format!("append: {CLIENTS} clients, a standby, {EVENTS} events");
    if !bench.begins(&names, &title) {
        return;
    }
    tell("starting a cluster with a standby");
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
    make(&sql, &url, LOG).await;
    fill(&sql, LOG, EVENTS).await;
    copy_plain(&sql, LOG, PLAIN).await;
    done_telling();
    let writer = Writer::open(config(&url, LOG)).await;
    let plain = Plain::open(&url, PLAIN, CLIENTS).await;
    let with = |contestant: Contestant, sync: bool| {
        let sql = sql.clone();
        contestant.before(move || wait_for(sql.clone(), sync))
    };
    let contestants = [
        with(writer.contestant("append, synchronous", CLIENTS), true),
        with(writer.contestant("append, asynchronous", CLIENTS), false),
        with(plain.contestant("plain INSERT, synchronous"), true),
        with(plain.contestant("plain INSERT, asynchronous"), false),
    ];

    let results = bench.rounds.run(&contestants).await;

    for (name, pair) in names.iter().zip(results.chunks(2)) {
        bench.table.report(name, pair[0].rate_to(&pair[1]));
    }
}

/// Makes the standby synchronous, or asynchronous, and waits until the primary holds it for that.
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

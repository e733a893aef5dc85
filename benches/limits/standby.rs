//! The cost of a synchronous standby, and of appends that wait until a standby shows them. The bench
//! starts a cluster of its own and switches between the ways to commit.

use std::sync::Arc;
use std::time::Duration;

use eddyline::{Filter, Query, ReadOnly, Store};
use local_postgres::Cluster;
use tokio_postgres::Client;

use crate::Bench;
use crate::clients::{On, Plain, Writer};
use crate::cluster::{DATABASE, connect, set};
use crate::rounds::{Workload, clear_progress, show_progress};
use crate::seed::{config, copy_plain, create, fill};

pub async fn run(bench: &mut Bench) {
    let title = format!("append: {CLIENTS} clients, synchronous standby to asynchronous");
    let throughput = bench.starts_part(&THROUGHPUT, &title);
    let title = "append, and read it on the standby: 1 client, remote_apply to at_least";
    let latency = bench.starts_part(&LATENCY, title);
    if !throughput && !latency {
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
    if throughput {
        let plain = Plain::open(&url, PLAIN, CLIENTS).await;
        compare_throughput(bench, &sql, &writer, &plain).await;
    }
    if latency {
        cluster.wait_for_replay().await.expect("a standby with the log");
        let replica = config(&cluster.standbys()[0].url(DATABASE), LOG);
        let reader = Store::<ReadOnly>::connect(replica).await.expect("a store");
        compare_latency(bench, &sql, &writer, &reader).await;
    }
}

async fn compare_throughput(
    bench: &mut Bench,
    sql: &Arc<Client>,
    writer: &Arc<Writer>,
    plain: &Arc<Plain>,
) {
    let append = |name| writer.workload(name, CLIENTS);
    let workloads = [
        Commit::Synchronous.before(sql, append("append, synchronous")),
        Commit::RemoteApply.before(sql, append("append, remote_apply")),
        Commit::Asynchronous.before(sql, append("append, asynchronous")),
        Commit::Synchronous.before(sql, plain.workload("plain INSERT, synchronous")),
        Commit::Asynchronous.before(sql, plain.workload("plain INSERT, asynchronous")),
    ];

    let results = bench.rounds.run(&workloads).await;

    let rates = [(0, 2), (1, 2), (3, 4)];
    for (name, (this, that)) in THROUGHPUT.iter().zip(rates) {
        bench.table.report(name, results[this].rate_to(&results[that]));
    }
}

/// Compares the two ways to read an own append on the standby.
async fn compare_latency(
    bench: &mut Bench,
    sql: &Arc<Client>,
    writer: &Arc<Writer>,
    reader: &Store<ReadOnly>,
) {
    let append_and_read = |name, commit: Commit| {
        let (writer, reader) = (writer.clone(), reader.clone());
        let workload = Workload::new(name, 1, move |_, _| {
            let (writer, reader) = (writer.clone(), reader.clone());
            async move {
                writer.append(On::Ids, 0).await;
                let position = writer.position();
                let reader = match commit {
                    Commit::RemoteApply => reader,
                    _ => reader.at_least(position),
                };
                let newest = Query::from(Filter::everything()).newest_first().limit(1);
                let history = reader.query(newest).await.expect("a history");
                assert!(history.position() >= position);
            }
        });
        commit.before(sql, workload)
    };
    let append = |name| writer.workload(name, 1);
    let workloads = [
        Commit::RemoteApply.before(sql, append("append, remote_apply")),
        Commit::Asynchronous.before(sql, append("append, asynchronous")),
        append_and_read("remote_apply, then a plain read", Commit::RemoteApply),
        append_and_read("asynchronous, then at_least", Commit::Asynchronous),
    ];

    let results = bench.rounds.run(&workloads).await;

    for (name, pair) in LATENCY.iter().zip(results.chunks(2)) {
        bench.table.report(name, pair[0].median_to(&pair[1]));
    }
}

/// What a commit waits for.
#[derive(Clone, Copy)]
enum Commit {
    /// Its flush on the primary.
    Asynchronous,
    /// Its flush on the standby too.
    Synchronous,
    /// Its replay on the standby too.
    RemoteApply,
}

impl Commit {
    /// Makes all commits of the cluster wait so before each measurement of a workload.
    fn before(self, sql: &Arc<Client>, workload: Workload) -> Workload {
        let sql = sql.clone();
        workload.before(move || self.apply(sql.clone()))
    }

    /// Changes the settings, and waits until the primary treats the standby so.
    async fn apply(self, sql: Arc<Client>) {
        let (state, waits_for) = match self {
            Self::Asynchronous => ("async", None),
            Self::Synchronous => ("sync", None),
            Self::RemoteApply => ("sync", Some("remote_apply")),
        };
        set(&sql, "synchronous_commit", waits_for).await;
        set(&sql, "synchronous_standby_names", (state == "sync").then_some("*")).await;
        let text = "SELECT coalesce(max(sync_state), '') = $1 FROM pg_stat_replication";
        while !sql.query_one(text, &[&state]).await.expect("a state").get::<_, bool>(0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

const THROUGHPUT: [&str; 3] =
    ["append/sync-standby/64", "append/remote-apply/64", "append/sync-standby/64/plain"];
const LATENCY: [&str; 2] = ["append/remote-apply/1/latency", "append/remote-apply/1/read"];
const CLIENTS: usize = 64;
const EVENTS: u64 = 10_000;
const LOG: &str = "log";
const PLAIN: &str = "plain";

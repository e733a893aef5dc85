//! The PostgreSQL cluster of the benches, which is kept between runs.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use local_postgres::Cluster;
use tokio_postgres::{Client, NoTls};

/// The database of all benches.
pub const DATABASE: &str = "bench";

/// Starts the cluster, with the logs that earlier runs have seeded.
pub async fn cluster() -> Cluster {
    let directory = target().join("bench-cluster");
    let cluster = Cluster::builder()
        .standbys(0)
        .directory(&directory)
        .max_connections(600)
        .shared_buffers("6GB")
        .setting("max_wal_size", "4GB")
        // A checkpoint during a comparison would affect only some of its rounds.
        .setting("checkpoint_timeout", "1h")
        .setting("random_page_cost", "1.1")
        .start()
        .await
        .expect("a cluster");
    if !cluster.has_database(DATABASE).await.expect("a list of databases") {
        cluster.create_database(DATABASE).await.expect("a database");
    }
    // An interrupted run may have left settings behind.
    let sql = connect(&cluster.primary().url(DATABASE)).await;
    for statement in ["ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()"] {
        sql.batch_execute(statement).await.expect("the cluster's own settings");
    }
    cluster
}

/// Connects with `tokio_postgres` alone.
pub async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
        .batch_execute("SET jit = off; SET max_parallel_workers_per_gather = 0")
        .await
        .expect("settings");
    client
}

/// Changes a setting of the cluster. `None` restores the value of its start.
pub async fn set(sql: &Client, name: &str, value: Option<&str>) {
    let change = match value {
        Some(value) => format!("ALTER SYSTEM SET {name} = '{value}'"),
        None => format!("ALTER SYSTEM RESET {name}"),
    };
    for statement in [change.as_str(), "SELECT pg_reload_conf()"] {
        sql.batch_execute(statement).await.expect("a setting");
    }
}

/// Describes the settings and the machine.
pub async fn conditions(sql: &Client) -> String {
    let names = [
        "server_version",
        "fsync",
        "synchronous_commit",
        "full_page_writes",
        "wal_level",
        "shared_buffers",
        "max_wal_size",
        "checkpoint_timeout",
        "random_page_cost",
        "max_connections",
    ];
    let text = "SELECT name || ' ' || current_setting(name) FROM unnest($1::text[]) AS name";
    let settings = sql.query(text, &[&&names[..]]).await.expect("settings");
    let settings: Vec<String> = settings.iter().map(|row| row.get(0)).collect();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let (settings, flush) = (settings.join(", "), smallest_commit(sql).await);
    format!(
        "PostgreSQL: {settings}; {cores} cores, shared by client and server; \
         smallest durable commit {flush:.0?} at the start"
    )
}

/// Returns the median duration of a commit of a minimal WAL record. If it is milliseconds, the disk
/// is busy, and that dominates all results with commits.
async fn smallest_commit(sql: &Client) -> Duration {
    let text = "SELECT pg_logical_emit_message(true, 'eddyline', ''::text)::text";
    let statement = sql.prepare(text).await.expect("a statement");
    let mut times = Vec::new();
    for _ in 0..200 {
        let begun = Instant::now();
        sql.query_one(&statement, &[]).await.expect("a commit");
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    times[times.len() / 2]
}

/// Returns the target folder of Cargo.
pub fn target() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").filter(|target| !target.is_empty());
    let target = target.map_or("target".into(), PathBuf::from);
    std::path::absolute(target).expect("a working directory")
}

//! The cluster that is kept between runs.

use std::path::PathBuf;

use local_postgres::Cluster;
use tokio_postgres::{Client, NoTls};

/// The database of all benches.
pub const DATABASE: &str = "bench";

/// Starts the cluster, or starts it again with what earlier runs have seeded.
pub async fn cluster() -> Cluster {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from);
    let directory = std::path::absolute(target).expect("a working directory").join("bench-cluster");
    let cluster = Cluster::builder()
        .standbys(0)
        .directory(&directory)
        .shared_buffers("6GB")
        .setting("max_wal_size", "8GB")
        .setting("random_page_cost", "1.1")
        .start()
        .await
        .expect("a cluster");
    if !cluster.has_database(DATABASE).await.expect("a list of databases") {
        cluster.create_database(DATABASE).await.expect("a database");
    }
    let sql = connect(&cluster).await;
    let settings = sql
        .query(
            "SELECT name, current_setting(name) FROM unnest(ARRAY['server_version', 'fsync',
                 'synchronous_commit', 'shared_buffers', 'random_page_cost']) AS name",
            &[],
        )
        .await
        .expect("settings");
    let settings: Vec<_> = settings
        .iter()
        .map(|row| format!("{} {}", row.get::<_, &str>(0), row.get::<_, &str>(1)))
        .collect();
    println!("conditions: {}, data in {}", settings.join(", "), directory.display());
    cluster
}

/// Connects without the crate.
pub async fn connect(cluster: &Cluster) -> Client {
    let url = cluster.primary().url(DATABASE);
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
        .batch_execute("SET jit = off; SET max_parallel_workers_per_gather = 0")
        .await
        .expect("settings");
    client
}

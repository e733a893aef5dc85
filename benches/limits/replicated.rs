//! A primary and its standbys, in a cluster of their own, with a log and statistics of statements.

use std::net::SocketAddr;

use eddyline::{Config, ReadOnly, Store};
use fault_proxy::Proxy;
use local_postgres::{Cluster, Server};
use tokio_postgres::Client;

use crate::cluster::{DATABASE, connect};
use crate::rounds::{clear_progress, show_progress};
use crate::seed::{config, create, fill};

/// A primary and its standbys with a log of [`EVENTS`] events. The servers stop when it is dropped.
pub struct Replicated {
    pub cluster: Cluster,
}

impl Replicated {
    /// Starts the servers. All of them have replayed the log when this returns.
    pub async fn start(standbys: usize) -> Self {
        show_progress("starting a cluster with standbys");
        let cluster = Cluster::builder()
            .standbys(standbys)
            .max_connections(300)
            .shared_buffers("256MB")
            .setting("shared_preload_libraries", "pg_stat_statements")
            .start()
            .await
            .expect("a cluster");
        cluster.create_database(DATABASE).await.expect("a database");
        let url = cluster.primary().url(DATABASE);
        let sql = connect(&url).await;
        sql.batch_execute("CREATE EXTENSION pg_stat_statements").await.expect("an extension");
        create(&sql, &url, LOG).await;
        fill(&sql, LOG, EVENTS).await;
        cluster.wait_for_replay().await.expect("standbys that replay");
        clear_progress();
        Self { cluster }
    }

    /// Returns the settings of a store on the primary.
    pub fn primary(&self) -> Config {
        config(&self.cluster.primary().url(DATABASE), LOG)
    }

    pub fn standby(&self, number: usize) -> &Server {
        &self.cluster.standbys()[number]
    }

    /// Connects to the database of a standby, without the crate.
    pub async fn sql(&self, standby: usize) -> Client {
        connect(&self.standby(standby).url(DATABASE)).await
    }

    /// Starts a proxy in front of a standby.
    pub async fn proxy(&self, standby: usize) -> Proxy {
        let server = SocketAddr::from(([127, 0, 0, 1], self.standby(standby).port()));
        Proxy::start(server).await.expect("a proxy")
    }

    /// Connects a store to the first standbys.
    pub async fn reader(&self, standbys: usize) -> Store<ReadOnly> {
        let urls: Vec<_> = (0..standbys).map(|number| self.standby(number).url(DATABASE)).collect();
        reader(&urls, |config| config).await
    }
}

/// Connects a store to replicas at these addresses, with further settings.
pub async fn reader(urls: &[String], settings: impl FnOnce(Config) -> Config) -> Store<ReadOnly> {
    let (first, others) = urls.split_first().expect("an address");
    let mut config = config(first, LOG);
    for url in others {
        config = config.replica(url).expect("an address");
    }
    Store::<ReadOnly>::connect(settings(config)).await.expect("a store")
}

/// Returns the address of the database behind a proxy.
pub fn url_of(proxy: &Proxy) -> String {
    format!("postgres://postgres@{}/{DATABASE}", proxy.address())
}

/// What a server has executed, by its own statistics.
#[derive(Clone, Copy, Debug)]
pub struct Executed {
    pub statements: i64,
    /// The rows of events that the server sent. The first row of a read of few events is the head.
    pub event_rows: i64,
    /// The pages that reads of events have read or found in memory.
    pub pages: i64,
}

impl Executed {
    pub async fn reset(sql: &Client) {
        sql.execute("SELECT pg_stat_statements_reset()", &[]).await.expect("a reset");
    }

    /// Returns what the server has executed since the reset, without the queries of this module.
    pub async fn since_reset(sql: &Client) -> Self {
        let text = format!(
            "SELECT coalesce(sum(calls), 0)::int8,
                 coalesce(sum(greatest(rows - calls, 0)) FILTER (WHERE reads_events), 0)::int8,
                 coalesce(sum(shared_blks_hit + shared_blks_read) FILTER (WHERE reads_events), 0)::int8
             FROM (SELECT *, query LIKE '%payload%' AND query LIKE '%{LOG}%' AS reads_events
                 FROM pg_stat_statements WHERE query NOT LIKE '%pg_stat_statements%') AS executed"
        );
        let row = sql.query_one(&text, &[]).await.expect("statistics");
        Self { statements: row.get(0), event_rows: row.get(1), pages: row.get(2) }
    }
}

/// The name of the log.
pub const LOG: &str = "log";

/// The number of events of the log at the start.
pub const EVENTS: u64 = 10_000;

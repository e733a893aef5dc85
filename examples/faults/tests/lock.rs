//! Who may hold a log's lock, and for how long.

use std::net::SocketAddr;
use std::time::Duration;

use eddyline::{AppendCondition, Config, Event, ReadWrite, RetryPolicy, Schema, Store};
use fault_proxy::{Action, Direction, Proxy};
use local_postgres::Cluster;

struct Line {
    cluster: Cluster,
    proxy: Proxy,
}

impl Line {
    async fn new() -> Self {
        let cluster = Cluster::builder().fsync(false).start().await.unwrap();
        let config = Config::new(&cluster.primary().url("postgres")).unwrap();
        Schema::new(&config).migrate().await.unwrap();
        let server = SocketAddr::from(([127, 0, 0, 1], cluster.primary().port()));
        let proxy = Proxy::start(server).await.unwrap();
        Self { cluster, proxy }
    }

    /// Connects a store with one connection of each kind, through the proxy.
    async fn store(&self) -> Store<ReadWrite> {
        let url = format!("postgres://postgres@{}/postgres", self.proxy.address());
        connect(&url).await
    }
}

async fn connect(url: &str) -> Store<ReadWrite> {
    let policy = RetryPolicy::builder()
        .attempt_timeout(Duration::from_secs(2))
        .deadline(Duration::from_secs(120))
        .build()
        .unwrap();
    let config = Config::new(url).unwrap().max_connections(1).retry(policy);
    Store::<ReadWrite>::connect(config).await.unwrap()
}

fn lent(pages: usize) -> Event {
    let payload = format!(r#"{{"Pages":"{}"}}"#, "x".repeat(pages));
    Event::from_json("BookCopyLentToReader", payload).unwrap()
}

/// It takes the server longer to receive the append than an attempt may take, and than it lets a
/// transaction be idle.
#[tokio::test]
async fn a_large_append_may_take_its_time_on_a_slow_network() {
    let line = Line::new().await;
    let store = line.store().await;
    store.append([lent(9)], AppendCondition::none()).await.unwrap();
    line.proxy.limit_rate(Direction::ToServer, Some(400 << 10));

    let appended = store.append([lent(3 << 20)], AppendCondition::none()).await;

    appended.unwrap();
}

/// The lock is taken when all of an append has arrived, so that a client which is slow, or stands still,
/// stops nobody else.
#[tokio::test]
async fn an_append_that_is_on_its_way_keeps_no_other_waiting() {
    let line = Line::new().await;
    let store = line.store().await;
    store.append([lent(9)], AppendCondition::none()).await.unwrap();
    let other = connect(&line.cluster.primary().url("postgres")).await;
    other.append([lent(9)], AppendCondition::none()).await.unwrap();
    for at in [0, 100, 1_000, 1 << 20, (3 << 20) - 1] {
        let frozen = line.proxy.inject(Direction::ToServer, at, Action::Freeze);
        let large = store.append([lent(3 << 20)], AppendCondition::none());

        let meanwhile = async {
            frozen.triggered().await;
            for _ in 0..3 {
                other.append([lent(9)], AppendCondition::none()).await.unwrap();
            }
            assert!(frozen.has_triggered());
            frozen.release();
        };
        let (large, ()) = tokio::join!(large, meanwhile);

        large.unwrap();
    }
}

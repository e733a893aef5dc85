//! Tests of how long a log's lock may be held, and by which connections.

use std::net::SocketAddr;
use std::time::Duration;

use eddyline::{AppendCondition, Config, Event, ReadWrite, RetryPolicy, Schema, Store};
use fault_proxy::{Action, Direction, Proxy};
use local_postgres::Cluster;

struct Setup {
    cluster: Cluster,
    proxy: Proxy,
}

impl Setup {
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

/// The server needs longer to receive the append than the timeout of an attempt, and longer than
/// the limit for idle transactions.
#[tokio::test]
async fn a_large_append_succeeds_on_a_slow_network() {
    let setup = Setup::new().await;
    let store = setup.store().await;
    store.append([lent(9)], AppendCondition::none()).await.unwrap();
    setup.proxy.limit_rate(Direction::ToServer, Some(400 << 10));

    let appended = store.append([lent(3 << 20)], AppendCondition::none()).await;

    assert!(!appended.unwrap().is_repeat());
}

/// The lock is taken only when the whole append has arrived, so that a slow or stalled client
/// blocks no other.
#[tokio::test]
async fn a_partly_delivered_append_does_not_block_other_stores() {
    let setup = Setup::new().await;
    let store = setup.store().await;
    store.append([lent(9)], AppendCondition::none()).await.unwrap();
    let other = connect(&setup.cluster.primary().url("postgres")).await;
    other.append([lent(9)], AppendCondition::none()).await.unwrap();
    for at in [0, 100, 1_000, 1 << 20, (3 << 20) - 1] {
        let frozen = setup.proxy.inject(Direction::ToServer, at, Action::Freeze);
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

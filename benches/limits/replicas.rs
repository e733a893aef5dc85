//! The throughput of several replicas, compared with one.
//!
//! Two cores are too few for three servers that compute, so each replica is throttled: the store
//! has [`CONNECTIONS`] connections to it, through a proxy that passes a fixed number of bytes per
//! second on each. So a replica has a known capacity, and the cores are idle for most of the time.

use eddyline::{Filter, History, ReadOnly, Store};
use fault_proxy::{Direction, Proxy};

use crate::Bench;
use crate::replicated::{EVENTS, Replicated, reader, url_of};
use crate::rounds::{Rounds, Workload};
use crate::seed::{LENDING, draw};

pub async fn run(bench: &mut Bench) {
    let names = ["replicas/2/throughput", "replicas/unequal/throughput"];
    let title = format!("replicas: {CLIENTS} clients, throttled replicas");
    if !bench.starts_part(&names, &title) {
        return;
    }
    let replicated = Replicated::start(3).await;
    let (one, two) =
        (Throttled::start(&replicated, 0).await, Throttled::start(&replicated, 1).await);
    let slow = Throttled::start(&replicated, 2).await;
    let workloads = [
        lending("one replica", &[&one]).await,
        lending("two replicas", &[&one, &two]).await,
        lending("one replica and a slow one", &[&one, &slow]).await,
    ];
    one.throttle(PACE);
    two.throttle(PACE);
    slow.throttle(PACE / 4);
    // An answer takes some 20 ms, so a measurement needs longer than usual.
    let rounds = Rounds { time: bench.rounds.time * 4, ..bench.rounds };

    let results = rounds.run(&workloads).await;

    let [one, two, unequal] = results.as_slice() else { unreachable!("three workloads ran") };
    bench.table.report(names[0], two.rate_to(one));
    bench.table.report(names[1], unequal.rate_to(one));
}

/// A proxy that throttles a replica.
struct Throttled(Proxy);

impl Throttled {
    async fn start(replicated: &Replicated, standby: usize) -> Self {
        Self(replicated.proxy(standby).await)
    }

    fn throttle(&self, bytes_per_second: u64) {
        self.0.limit_rate(Direction::ToClient, Some(bytes_per_second));
    }
}

/// Returns the workload of lending queries, about 45 events each, on some replicas.
async fn lending(name: &str, replicas: &[&Throttled]) -> Workload {
    let urls: Vec<_> = replicas.iter().map(|Throttled(proxy)| url_of(proxy)).collect();
    let store = reader(&urls, |config| config.max_connections(CONNECTIONS)).await;
    Workload::new(name, CLIENTS, move |_, count| {
        let store = store.clone();
        async move { drop(query(&store, count).await) }
    })
}

/// Reads the history for lending a random book to a random reader.
pub async fn query(store: &Store<ReadOnly>, count: u64) -> History<ReadOnly> {
    let (book, reader) = draw(EVENTS, count);
    let filter = Filter::types(LENDING).any_of([("BookID", book), ("ReaderID", reader)]);
    let history = store.query(&filter.build().expect("a filter")).await.expect("a history");
    assert!(!history.events().is_empty());
    history
}

/// The number of clients, enough for every connection to every replica.
const CLIENTS: usize = 16;
/// The connections of a store to each replica.
const CONNECTIONS: u32 = 4;
/// The bytes per second on each connection.
const PACE: u64 = 500_000;

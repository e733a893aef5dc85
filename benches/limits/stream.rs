//! The throughput and the memory of a stream of many events, compared with rows without the crate.

use std::pin::pin;
use std::sync::Arc;

use eddyline::{Filter, Query, ReadWrite, SequenceNumber, Store};
use futures_util::TryStreamExt as _;
use tokio_postgres::{Client, Statement};

use crate::Bench;
use crate::child::{Child, serve};
use crate::cluster::connect;
use crate::query::COLUMNS;
use crate::rounds::{Workload, median};
use crate::seed::{Seed, config};

pub const ROLE: &str = "read";

pub async fn run(bench: &mut Bench) {
    if bench.starts_part(&["stream/100k/raw", "stream/100k/buffered"], "stream: 100,000 events") {
        Seed::USUAL.prepare(&bench.url).await;
        let reader = Reader::open(&bench.url, &Seed::USUAL.log()).await;
        let workloads = WAYS.map(|way| reader.workload(way));

        let results = bench.rounds.run(&workloads).await;

        let [stream, raw, buffered] = results.as_slice() else {
            unreachable!("three workloads ran")
        };
        bench.table.report("stream/100k/raw", stream.rate_to(raw));
        bench.table.report("stream/100k/buffered", buffered.rate_to(raw));
    }
    if bench.starts_part(&["stream/100k/rss-mb"], "stream: memory of reading 100,000 events") {
        Seed::USUAL.prepare(&bench.url).await;
        let suffixes = ["", "/raw", "/buffered"];
        for (way, suffix) in WAYS.iter().zip(suffixes) {
            let grown = median((0..bench.rounds.rounds).map(|_| measure(&bench.url, *way)));
            bench.table.report(&format!("stream/100k/rss-mb{suffix}"), grown);
        }
    }
}

/// A way to read events.
#[derive(Clone, Copy, Debug)]
enum Way {
    Stream,
    Raw,
    Buffered,
}

const WAYS: [Way; 3] = [Way::Stream, Way::Raw, Way::Buffered];

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Raw => "plain query_raw",
            Self::Buffered => "query",
        }
    }
}

/// A store and a plain connection to the same log.
struct Reader {
    store: Store<ReadWrite>,
    sql: Client,
    statement: Statement,
}

impl Reader {
    async fn open(url: &str, log: &str) -> Arc<Self> {
        let store = Store::<ReadWrite>::connect(config(url, log)).await.expect("a store");
        let sql = connect(url).await;
        let text = format!(
            "SELECT {COLUMNS} FROM {log} WHERE sequence_number > $1
             ORDER BY sequence_number LIMIT $2"
        );
        let statement = sql.prepare(&text).await.expect("a statement");
        Arc::new(Self { store, sql, statement })
    }

    /// Reads a number of events after a position.
    async fn read(&self, way: Way, after: u64, events: u32) {
        let query =
            || Query::from(Filter::everything()).after(SequenceNumber::new(after)).limit(events);
        let read = match way {
            Way::Stream => {
                let mut stream = self.store.stream(query()).await.expect("a stream");
                let mut read = 0;
                while stream.try_next().await.expect("an event").is_some() {
                    read += 1;
                }
                read
            }
            Way::Raw => {
                let values = [after as i64, i64::from(events)];
                let rows = self.sql.query_raw(&self.statement, values).await.expect("rows");
                let mut rows = pin!(rows);
                let mut read = 0;
                while rows.try_next().await.expect("a row").is_some() {
                    read += 1;
                }
                read
            }
            Way::Buffered => self.store.query(query()).await.expect("a history").events().len(),
        };
        assert_eq!(read, events as usize);
    }

    fn workload(self: &Arc<Self>, way: Way) -> Workload {
        let reader = self.clone();
        Workload::new(way.name(), 1, move |_, count| {
            let reader = reader.clone();
            // All ways read the same ranges of events, in the same order.
            let after = (count & 0xf) * u64::from(EVENTS);
            async move { reader.read(way, after, EVENTS).await }
        })
    }
}

/// Returns the growth in MB of a child process that reads all events once.
fn measure(url: &str, way: Way) -> f64 {
    let mut child = Child::start(ROLE, &[url, &Seed::USUAL.log()]);
    child.send(way.name());
    child.receive().parse().expect("a number")
}

/// Runs a child process: reads in the way that each command names, and replies with the growth of
/// its memory in MB.
pub async fn child(arguments: &[String]) {
    let [url, log] = arguments else { panic!("an address and a log") };
    let reader = Reader::open(url, log).await;
    serve(async |line| {
        let way = WAYS.into_iter().find(|way| way.name() == line).expect("a way to read");
        reader.read(way, 0, 10).await;
        // This resets the high-water mark to the current size.
        std::fs::write("/proc/self/clear_refs", "5").expect("the memory's high-water mark");
        let before = memory("VmRSS:");
        reader.read(way, 0, EVENTS).await;
        (memory("VmHWM:") - before).to_string()
    })
    .await;
}

/// Returns the value of a field of `/proc/self/status`, in MB.
fn memory(kind: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("this process's state");
    let line = status.lines().find_map(|line| line.strip_prefix(kind)).expect("a kind of memory");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("a size") / 1_024.0
}

const EVENTS: u32 = 100_000;

//! How fast a stream of many events is beside the bare rows, and what memory it takes.

use std::pin::pin;
use std::sync::Arc;

use eddyline::{Filter, Query, ReadWrite, Store};
use futures_util::TryStreamExt as _;
use tokio_postgres::{Client, Statement};

use crate::Bench;
use crate::child::{Child, answer};
use crate::cluster::connect;
use crate::query::COLUMNS;
use crate::rounds::{Contestant, middle};
use crate::seed::{Seed, config};

pub const ROLE: &str = "read";

pub async fn run(bench: &mut Bench) {
    if bench.begins(&["stream/100k/raw", "stream/100k/buffered"], "stream: 100,000 events") {
        Seed::USUAL.prepare(&bench.url).await;
        let reader = Reader::open(&bench.url, &Seed::USUAL.log()).await;
        let contestants = WAYS.map(|way| reader.contestant(way));

        let results = bench.rounds.run(&contestants).await;

        let [stream, raw, buffered] = results.as_slice() else { unreachable!("three took part") };
        bench.table.report("stream/100k/raw", stream.rate_to(raw));
        bench.table.report("stream/100k/buffered", buffered.rate_to(raw));
    }
    if bench.begins(&["stream/100k/rss-mb"], "stream: memory that 100,000 events take") {
        Seed::USUAL.prepare(&bench.url).await;
        let suffixes = ["", "/raw", "/buffered"];
        for (way, suffix) in WAYS.iter().zip(suffixes) {
            let grown = middle((0..bench.rounds.rounds).map(|_| measure(&bench.url, *way)));
            bench.table.report(&format!("stream/100k/rss-mb{suffix}"), grown);
        }
    }
}

/// How the events are read.
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
            Self::Raw => "bare query_raw",
            Self::Buffered => "query",
        }
    }
}

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
        let query = || Query::from(Filter::everything()).after(after.into()).limit(events);
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

    fn contestant(self: &Arc<Self>, way: Way) -> Contestant {
        let reader = self.clone();
        Contestant::new(way.name(), 1, move |_, count| {
            let reader = reader.clone();
            // One stretch after the other, the same for all ways.
            let after = (count & 0xf) * u64::from(EVENTS);
            async move { reader.read(way, after, EVENTS).await }
        })
    }
}

/// Returns how many MB a process grows by when it reads all events once.
fn measure(url: &str, way: Way) -> f64 {
    let mut child = Child::start(ROLE, &[url, &Seed::USUAL.log()]);
    child.tell(way.name());
    child.hear().parse().expect("a number")
}

/// Is a process that reads the way a line says, and answers how many MB more it had at most.
pub async fn child(arguments: &[String]) {
    let [url, log] = arguments else { panic!("an address and a log") };
    let reader = Reader::open(url, log).await;
    answer(async |line| {
        let way = WAYS.into_iter().find(|way| way.name() == line).expect("a way to read");
        reader.read(way, 0, 10).await;
        // The high-water mark falls to what is used now.
        std::fs::write("/proc/self/clear_refs", "5").expect("the memory's high-water mark");
        let before = memory("VmRSS:");
        reader.read(way, 0, EVENTS).await;
        (memory("VmHWM:") - before).to_string()
    })
    .await;
}

/// Returns what this process has of a kind of memory, in MB.
fn memory(kind: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("this process's state");
    let line = status.lines().find_map(|line| line.strip_prefix(kind)).expect("a kind of memory");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("a size") / 1_024.0
}

const EVENTS: u32 = 100_000;

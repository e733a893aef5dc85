//! The time that a read at the position of an append waits, compared with the replication delay.
//!
//! Both end when the request that found the event was sent. For a read of the store that moment
//! follows from the time of a plain read next to the same appends. The delay is measured without
//! the crate, by a connection that polls the standby back-to-back. Both begin with the append, or
//! for a stricter comparison when it has returned.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use console::print_stdout;
use eddyline::{AppendCondition, Filter, ReadOnly, ReadWrite, Store};
use tokio_postgres::{Client, Statement};

use crate::Bench;
use crate::clients::{boundary, event};
use crate::replicated::{LOG, Replicated};
use crate::rounds::{Measured, Workload, median, ratio};
use crate::seed::LENDING;

pub async fn run(bench: &mut Bench) {
    let title = "fresh: reads of a replica at the position of an append";
    if !bench.starts_part(&[&IDLE[..], &BUSY[..]].concat(), title) {
        return;
    }
    let replicated = Replicated::start(1).await;
    let servers = Servers::open(&replicated).await;
    if bench.starts_part(&IDLE, "fresh: 1 client appends and reads") {
        let workloads = servers.workloads(1);

        let results = bench.rounds.run(&workloads).await;

        report(bench, &IDLE, &results);
        servers.print_period();
    }
    if bench.starts_part(&BUSY, "fresh: 64 clients append and read") {
        let name = "read at its position, next to the poller";
        let next_to_poller = servers.reads(name, POLLER + 1, At::Append, Since::Return);
        let workloads: Vec<_> = servers.workloads(64).into_iter().chain([next_to_poller]).collect();

        let results = bench.rounds.run(&workloads).await;

        report(bench, &BUSY, &results);
        bench.table.report(BUSY[4], results[5].median_to(&results[2]));
        servers.print_period();
    }
}

/// Reports the results of [`Servers::workloads`].
fn report(bench: &mut Bench, names: &[&str], results: &[Measured]) {
    let [plain, both, read, delay, delay_after, ..] = results else { unreachable!("five ran") };
    let milliseconds = |times: &[f64]| median(times.iter().copied()) * 1e3;
    let waits = beyond(read, plain);
    bench.table.report(names[0], ratio(&beyond(both, plain), delay.medians()));
    bench.table.report(names[1], ratio(&waits, delay_after.medians()));
    bench.table.report(names[2], milliseconds(&waits));
    bench.table.report(names[3], milliseconds(delay_after.medians()));
}

/// Returns by how much the medians of one workload exceed those of another, for each round.
fn beyond(one: &Measured, other: &Measured) -> Vec<f64> {
    one.medians().iter().zip(other.medians()).map(|(one, other)| one - other).collect()
}

/// The position that a read asks for.
#[derive(Clone, Copy)]
enum At {
    AnyPosition,
    Append,
}

/// The beginning of a measured time.
#[derive(Clone, Copy)]
enum Since {
    Append,
    /// The return of the append.
    Return,
}

/// Stores on both servers, and a connection to the standby without the crate.
struct Servers {
    writer: Store<ReadWrite>,
    reader: Store<ReadOnly>,
    sql: Client,
    poll: Statement,
    /// The number of polls so far, and their total time in nanoseconds.
    polls: AtomicU64,
    polling: AtomicU64,
}

impl Servers {
    async fn open(replicated: &Replicated) -> Arc<Self> {
        let writer = Store::<ReadWrite>::connect(replicated.primary()).await.expect("a store");
        let reader = replicated.reader(1).await;
        let sql = replicated.sql(0).await;
        let text = format!("SELECT count(*) FROM {LOG} WHERE sequence_number = $1");
        let poll = sql.prepare(&text).await.expect("a statement");
        let (polls, polling) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self { writer, reader, sql, poll, polls, polling })
    }

    /// Makes the workloads of [`report`]. Each client appends and reads. Next to several clients,
    /// one more polls.
    fn workloads(self: &Arc<Self>, clients: usize) -> [Workload; 5] {
        let and_poller = if clients == 1 { 1 } else { clients + 1 };
        [
            self.reads("plain read after an append", clients, At::AnyPosition, Since::Return),
            self.reads("append and read at its position", clients, At::Append, Since::Append),
            self.reads("read at its position", clients, At::Append, Since::Return),
            self.polls("append and polls", and_poller, Since::Append),
            self.polls("polls after an append", and_poller, Since::Return),
        ]
    }

    /// Appends an event of a new boundary, and reads that boundary from the standby. Returns the
    /// time until the answer.
    async fn read(&self, at: At, since: Since) -> Duration {
        let boundary = boundary();
        let filter =
            Filter::types(LENDING).any_of([("BookID", &boundary), ("ReaderID", &boundary)]);
        let filter = filter.build().expect("a filter");
        let begun = Instant::now();
        let appended = self.writer.append([event(&boundary)], AppendCondition::none()).await;
        let position = appended.expect("an append").last();
        let begun = since.of(begun);
        let reader = match at {
            At::AnyPosition => self.reader.clone(),
            At::Append => self.reader.at_least(position),
        };
        let history = reader.query(&filter).await.expect("a history");
        let time = begun.elapsed();
        assert!(history.events().len() == 1 || matches!(at, At::AnyPosition));
        time
    }

    /// Appends an event, and polls the standby until it shows the event. Returns the time until the
    /// last poll was sent.
    async fn poll(&self, since: Since) -> Duration {
        let event = event(&boundary());
        let begun = Instant::now();
        let appended = self.writer.append([event], AppendCondition::none()).await;
        let number = appended.expect("an append").last().value() as i64;
        let (returned, mut polls) = (Instant::now(), 0);
        let begun = since.of(begun);
        loop {
            let sent = begun.elapsed();
            let row = self.sql.query_one(&self.poll, &[&number]).await.expect("a count");
            polls += 1;
            if row.get::<_, i64>(0) > 0 {
                self.polls.fetch_add(polls, Ordering::Relaxed);
                self.polling.fetch_add(returned.elapsed().as_nanos() as u64, Ordering::Relaxed);
                return sent;
            }
        }
    }

    /// Makes a workload of reads. With a 65th client, that one polls and is not measured.
    fn reads(self: &Arc<Self>, name: &str, clients: usize, at: At, since: Since) -> Workload {
        let servers = self.clone();
        Workload::timed(name, clients, move |client, _| {
            let servers = servers.clone();
            async move {
                match client {
                    POLLER => {
                        servers.poll(since).await;
                        None
                    }
                    _ => Some(servers.read(at, since).await),
                }
            }
        })
    }

    /// Makes a workload whose last client polls. The others read and are not measured.
    fn polls(self: &Arc<Self>, name: &str, clients: usize, since: Since) -> Workload {
        let servers = self.clone();
        Workload::timed(name, clients, move |client, _| {
            let servers = servers.clone();
            async move {
                if client == clients - 1 {
                    return Some(servers.poll(since).await);
                }
                servers.read(At::Append, since).await;
                None
            }
        })
    }

    /// Prints the mean time of a poll since the last call: the error of a delay is at most that.
    fn print_period(&self) {
        let polls = self.polls.swap(0, Ordering::Relaxed).max(1);
        let time = Duration::from_nanos(self.polling.swap(0, Ordering::Relaxed) / polls);
        print_stdout(&format_args!("  {polls} polls of {time:.1?} on average"));
    }
}

impl Since {
    /// Returns the beginning, of an append that began at this time and has returned.
    fn of(self, begun: Instant) -> Instant {
        match self {
            Self::Append => begun,
            Self::Return => Instant::now(),
        }
    }
}

const IDLE: [&str; 4] = [
    "fresh/idle/wait-to-delay",
    "fresh/idle/wait-to-delay/after",
    "fresh/idle/wait-ms",
    "fresh/idle/delay-ms",
];
const BUSY: [&str; 5] = [
    "fresh/64/wait-to-delay",
    "fresh/64/wait-to-delay/after",
    "fresh/64/wait-ms",
    "fresh/64/delay-ms",
    "fresh/64/poller",
];

/// The number of the client that polls next to 64 others.
const POLLER: usize = 64;

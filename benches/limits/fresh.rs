//! The time that a read at the position of an append waits, compared with the replication delay.
//!
//! Both are measured from the return of the append to the moment at which the request that found
//! the event was sent. For a read of the store that moment follows from the time of a plain read
//! next to the same appends. The delay is measured without the crate, by a connection that polls
//! the standby back-to-back.

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
    let idle = ["fresh/idle/wait-to-delay", "fresh/idle/wait-ms", "fresh/idle/delay-ms"];
    let busy =
        ["fresh/64/wait-to-delay", "fresh/64/wait-ms", "fresh/64/delay-ms", "fresh/64/poller"];
    let names = [&idle[..], &busy[..]].concat();
    if !bench.starts_part(&names, "fresh: reads of a replica at the position of an append") {
        return;
    }
    let replicated = Replicated::start(1).await;
    let servers = Servers::open(&replicated).await;
    if bench.starts_part(&idle, "fresh: 1 client appends and reads") {
        let workloads = [
            servers.reads("append, then plain read", 1, At::AnyPosition),
            servers.reads("append, then read at its position", 1, At::Append),
            servers.polls("append, then poll", 1),
        ];

        let results = bench.rounds.run(&workloads).await;

        let [plain, at_position, delay] = results.as_slice() else { unreachable!("three ran") };
        report(bench, &idle, &beyond(at_position, plain), delay.medians());
        servers.print_period();
    }
    if bench.starts_part(&busy, "fresh: 64 clients append and read") {
        let workloads = [
            servers.reads("append, then plain read", 64, At::AnyPosition),
            servers.reads("append, then read at its position", 64, At::Append),
            servers.reads("the same next to the poller", 65, At::Append),
            servers.polls("append, then poll, next to 64", 65),
        ];

        let results = bench.rounds.run(&workloads).await;

        let [plain, at_position, next_to_poller, delay] = results.as_slice() else {
            unreachable!("four ran")
        };
        report(bench, &busy, &beyond(at_position, plain), delay.medians());
        bench.table.report("fresh/64/poller", next_to_poller.median_to(at_position));
        servers.print_period();
    }
}

fn report(bench: &mut Bench, names: &[&str], waits: &[f64], delays: &[f64]) {
    bench.table.report(names[0], ratio(waits, delays));
    bench.table.report(names[1], median(waits.iter().copied()) * 1e3);
    bench.table.report(names[2], median(delays.iter().copied()) * 1e3);
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

    /// Appends an event of a new boundary, and reads that boundary from the standby. Returns the
    /// time of the read.
    async fn read(&self, at: At) -> Duration {
        let boundary = boundary();
        let filter =
            Filter::types(LENDING).any_of([("BookID", &boundary), ("ReaderID", &boundary)]);
        let filter = filter.build().expect("a filter");
        let appended = self.writer.append([event(&boundary)], AppendCondition::none()).await;
        let position = appended.expect("an append").last();
        let reader = match at {
            At::AnyPosition => self.reader.clone(),
            At::Append => self.reader.at_least(position),
        };
        let begun = Instant::now();
        let history = reader.query(&filter).await.expect("a history");
        let time = begun.elapsed();
        assert!(history.events().len() == 1 || matches!(at, At::AnyPosition));
        time
    }

    /// Appends an event, and polls the standby until it shows the event. Returns the time from the
    /// append to the last poll.
    async fn poll(&self) -> Duration {
        let appended = self.writer.append([event(&boundary())], AppendCondition::none()).await;
        let number = appended.expect("an append").last().value() as i64;
        let (begun, mut polls) = (Instant::now(), 0);
        loop {
            let sent = begun.elapsed();
            let row = self.sql.query_one(&self.poll, &[&number]).await.expect("a count");
            polls += 1;
            if row.get::<_, i64>(0) > 0 {
                self.polls.fetch_add(polls, Ordering::Relaxed);
                self.polling.fetch_add(begun.elapsed().as_nanos() as u64, Ordering::Relaxed);
                return sent;
            }
        }
    }

    /// Makes a workload of reads. With a 65th client, that one polls and is not measured.
    fn reads(self: &Arc<Self>, name: &str, clients: usize, at: At) -> Workload {
        let servers = self.clone();
        Workload::timed(name, clients, move |client, _| {
            let servers = servers.clone();
            async move {
                match client {
                    POLLER => {
                        servers.poll().await;
                        None
                    }
                    _ => Some(servers.read(at).await),
                }
            }
        })
    }

    /// Makes a workload whose last client polls. The others read and are not measured.
    fn polls(self: &Arc<Self>, name: &str, clients: usize) -> Workload {
        let servers = self.clone();
        Workload::timed(name, clients, move |client, _| {
            let servers = servers.clone();
            async move {
                if client == clients - 1 {
                    return Some(servers.poll().await);
                }
                servers.read(At::Append).await;
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

/// The number of the client that polls next to 64 others.
const POLLER: usize = 64;

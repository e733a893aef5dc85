//! The time that a read at the position of an append waits, compared with the replication delay.
//!
//! Both end when the request that found the event was sent. For a read of the store that moment
//! follows from the time of a plain read next to the same appends. The delay is measured without
//! the crate, by a connection that polls the standby back-to-back. Both begin with the append, or
//! for a stricter comparison when it has returned.
//!
//! A client makes each kind of operation in turn, so that a slow phase affects all of them. With
//! many clients, one more polls. Rounds without it show whether it slows down the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use console::print_stdout;
use eddyline::{AppendCondition, Appended, Event, Filter, ReadOnly, ReadWrite, Store};
use tokio_postgres::{Client, Statement};

use crate::Bench;
use crate::clients::{boundary, event};
use crate::replicated::{LOG, Replicated};
use crate::rounds::{Measured, clear_progress, median, ratio};
use crate::seed::LENDING;

pub async fn run(bench: &mut Bench) {
    let title = "fresh: reads of a replica at the position of an append";
    if !bench.starts_part(&[&IDLE[..], &BUSY[..]].concat(), title) {
        return;
    }
    let replicated = Replicated::start(1).await;
    let servers = Servers::open(&replicated).await;
    if bench.starts_part(&IDLE, "fresh: 1 client appends, and reads or polls") {
        let all: Clients = vec![&[Kind::Plain, Kind::AtAppend, Kind::Poll]];

        let [results] = measure(bench, &servers, [all]).await;

        report(bench, &IDLE, &results);
        bench.table.report(IDLE[3], ratio(&results.waits(), results.polls.medians()));
    }
    if bench.starts_part(&BUSY, "fresh: 64 clients append and read, and one more polls") {
        let readers: Clients = vec![&[Kind::Plain, Kind::AtAppend]; 64];
        let and_poller = readers.iter().copied().chain([&[Kind::Poll][..]]).collect();

        let [results, alone] = measure(bench, &servers, [and_poller, readers]).await;

        report(bench, &BUSY, &results);
        bench.table.report(BUSY[3], results.read.median_to(&alone.read));
    }
}

/// Reports the results with these names.
fn report(bench: &mut Bench, names: &[&str], results: &Results) {
    let milliseconds = |times: &[f64]| median(times.iter().copied()) * 1e3;
    let whole = beyond(&results.append_and_read, &results.plain);
    bench.table.report(names[0], ratio(&whole, results.append_and_polls.medians()));
    bench.table.report(names[1], milliseconds(&results.waits()));
    bench.table.report(names[2], milliseconds(results.polls.medians()));
}

/// Returns by how much the medians of one operation exceed those of another, for each round.
fn beyond(one: &Measured, other: &Measured) -> Vec<f64> {
    one.medians().iter().zip(other.medians()).map(|(one, other)| one - other).collect()
}

/// The kinds of operations that each client makes in turn.
type Clients = Vec<&'static [Kind]>;

/// An operation after an append.
#[derive(Clone, Copy)]
enum Kind {
    /// A read at the position of the append.
    AtAppend,
    Plain,
    Poll,
}

/// Lets groups of clients run in turn in each round.
async fn measure<const N: usize>(
    bench: &Bench,
    servers: &Arc<Servers>,
    groups: [Clients; N],
) -> [Results; N] {
    let mut results = [(); N].map(|()| Results::default());
    let time = bench.rounds.time * 3;
    for round in 0..=bench.rounds.rounds {
        for (group, results) in groups.iter().zip(&mut results) {
            bench.rounds.show_progress(round, "appends and reads");
            let until = Instant::now() + time;
            let clients: Vec<_> =
                group.iter().map(|kinds| tokio::spawn(servers.clone().run(kinds, until))).collect();
            let mut times = Times::default();
            for client in clients {
                times.add(client.await.expect("a client"));
            }
            if round > 0 {
                results.record(times, time);
            }
        }
    }
    clear_progress();
    results.iter().for_each(Results::print);
    servers.print_period();
    results
}

/// The times of operations.
#[derive(Default)]
struct Times {
    plain: Vec<Duration>,
    append_and_read: Vec<Duration>,
    read: Vec<Duration>,
    append_and_polls: Vec<Duration>,
    polls: Vec<Duration>,
}

impl Times {
    fn add(&mut self, other: Self) {
        self.plain.extend(other.plain);
        self.append_and_read.extend(other.append_and_read);
        self.read.extend(other.read);
        self.append_and_polls.extend(other.append_and_polls);
        self.polls.extend(other.polls);
    }
}

struct Results {
    plain: Measured,
    append_and_read: Measured,
    read: Measured,
    append_and_polls: Measured,
    polls: Measured,
}

impl Results {
    fn record(&mut self, times: Times, elapsed: Duration) {
        self.plain.record(times.plain, elapsed);
        self.append_and_read.record(times.append_and_read, elapsed);
        self.read.record(times.read, elapsed);
        if !times.polls.is_empty() {
            self.append_and_polls.record(times.append_and_polls, elapsed);
            self.polls.record(times.polls, elapsed);
        }
    }

    /// Returns how long reads waited after the return of their append, for each round.
    fn waits(&self) -> Vec<f64> {
        beyond(&self.read, &self.plain)
    }

    fn print(&self) {
        let Self { plain, append_and_read, read, append_and_polls, polls } = self;
        [plain, append_and_read, read].into_iter().for_each(Measured::print);
        if !polls.medians().is_empty() {
            [append_and_polls, polls].into_iter().for_each(Measured::print);
        }
    }
}

impl Default for Results {
    fn default() -> Self {
        Self {
            plain: Measured::new("plain read after an append"),
            append_and_read: Measured::new("append and read at its position"),
            read: Measured::new("  the read of these"),
            append_and_polls: Measured::new("append and polls"),
            polls: Measured::new("  the polls of these"),
        }
    }
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

    /// Runs a client.
    async fn run(self: Arc<Self>, kinds: &[Kind], until: Instant) -> Times {
        let mut times = Times::default();
        while Instant::now() < until {
            for kind in kinds {
                match kind {
                    Kind::AtAppend => self.read_at_append(&mut times).await,
                    Kind::Plain => self.read(&mut times).await,
                    Kind::Poll => self.poll(&mut times).await,
                }
            }
        }
        times
    }

    /// Appends an event, and reads its boundary at the position of the append.
    async fn read_at_append(&self, times: &mut Times) {
        let (filter, event) = event_and_filter();
        let begun = Instant::now();
        let bookmark = self.append(event).await.bookmark();
        let returned = begun.elapsed();
        let history = self.reader.at_least(bookmark).query(&filter).await.expect("a history");
        times.append_and_read.push(begun.elapsed());
        times.read.push(begun.elapsed() - returned);
        assert_eq!(history.events().len(), 1);
    }

    /// Appends an event, and reads its boundary at any position.
    async fn read(&self, times: &mut Times) {
        let (filter, event) = event_and_filter();
        self.append(event).await;
        let begun = Instant::now();
        self.reader.query(&filter).await.expect("a history");
        times.plain.push(begun.elapsed());
    }

    /// Appends an event, and polls the standby until it shows the event.
    async fn poll(&self, times: &mut Times) {
        let (_, event) = event_and_filter();
        let begun = Instant::now();
        let number = self.append(event).await.last().value() as i64;
        let returned = begun.elapsed();
        let mut polls = 0;
        loop {
            let sent = begun.elapsed();
            let row = self.sql.query_one(&self.poll, &[&number]).await.expect("a count");
            polls += 1;
            if row.get::<_, i64>(0) > 0 {
                times.append_and_polls.push(sent);
                times.polls.push(sent - returned);
                break;
            }
        }
        let polling = (begun.elapsed() - returned).as_nanos() as u64;
        self.polls.fetch_add(polls, Ordering::Relaxed);
        self.polling.fetch_add(polling, Ordering::Relaxed);
    }

    async fn append(&self, event: Event) -> Appended {
        self.writer.append([event], AppendCondition::none()).await.expect("an append")
    }

    /// Prints the mean time of a poll since the last call: the error of a delay is at most that.
    fn print_period(&self) {
        let polls = self.polls.swap(0, Ordering::Relaxed).max(1);
        let time = Duration::from_nanos(self.polling.swap(0, Ordering::Relaxed) / polls);
        print_stdout(&format_args!("  {polls} polls of {time:.1?} on average"));
    }
}

/// Makes an event of a new boundary, and the filter of that.
fn event_and_filter() -> (Filter, Event) {
    let boundary = boundary();
    let filter = Filter::types(LENDING).any_of([("BookID", &boundary), ("ReaderID", &boundary)]);
    (filter.build().expect("a filter"), event(&boundary))
}

const IDLE: [&str; 4] = [
    "fresh/idle/wait-to-delay",
    "fresh/idle/wait-ms",
    "fresh/idle/delay-ms",
    "fresh/idle/wait-to-delay/after",
];
/// Next to 64 clients, a standby may have replayed an append before it returns. So there is no ratio
/// of the times after that.
const BUSY: [&str; 4] =
    ["fresh/64/wait-to-delay", "fresh/64/wait-ms", "fresh/64/delay-ms", "fresh/64/poller"];

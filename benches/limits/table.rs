//! The table of results, with their aims and what was compared.

use std::fmt;
use std::fmt::Write as _;

use console::{print_stderr, print_stdout};

/// A result of the benches.
pub struct Row {
    pub name: &'static str,
    pub aim: Aim,
    pub compared: &'static str,
}

/// The aim of a result.
#[derive(Clone, Copy)]
pub enum Aim {
    AtLeast(f64),
    AtMost(f64),
    /// There is no aim.
    Informational,
}

/// The results of a run so far.
#[derive(Default)]
pub struct Table {
    found: Vec<(String, f64, Aim, String)>,
}

impl Table {
    /// Adds a result that is listed in [`ROWS`], and prints it.
    pub fn report(&mut self, name: &str, value: f64) {
        let row = ROWS.iter().find(|row| row.name == name).expect("a row of this name");
        self.add(name, value, row.aim, row.compared);
    }

    /// Adds a result that is not listed in [`ROWS`], and prints it.
    pub fn report_unlisted(&mut self, name: &str, value: f64, compared: &str) {
        self.add(name, value, Aim::Informational, compared);
    }

    fn add(&mut self, name: &str, value: f64, aim: Aim, compared: &str) {
        print_stdout(&format_args!("RATIO {name} {}   {aim:<10} # {compared}", digits(value)));
        self.found.push((name.to_owned(), value, aim, compared.to_owned()));
    }

    /// Prints all results.
    pub fn print(&self) {
        let mut text = format!(
            "\n{:<34} {:>9}  {:<10} what was compared (rates, unless stated)\n",
            "result", "value", "aim"
        );
        for (name, value, aim, compared) in &self.found {
            let suffix = if aim.is_met_by(*value) { "" } else { " (missed)" };
            // Writing to a string does not fail.
            let _ =
                writeln!(text, "{name:<34} {:>9}  {aim:<10} {compared}{suffix}", digits(*value));
        }
        print_stdout(&text);
    }

    /// Renders all results as Markdown.
    pub fn markdown(&self, conditions: &str) -> String {
        let mut text = format!(
            "{conditions}\n\n| result | value | aim | what was compared (rates, unless stated) |\n"
        );
        text += "| --- | --- | --- | --- |\n";
        for (name, value, aim, compared) in &self.found {
            // Writing to a string does not fail.
            let _ = writeln!(text, "| `{name}` | {} | {aim} | {compared} |", digits(*value));
        }
        text
    }
}

impl Aim {
    fn is_met_by(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
            Self::Informational => true,
        }
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => f.pad(&format!(">= {least}")),
            Self::AtMost(most) => f.pad(&format!("<= {most}")),
            Self::Informational => f.pad(""),
        }
    }
}

/// Exits if no result has the prefix `wanted`.
pub fn check(wanted: &str) {
    let names = ROWS.iter().map(|row| row.name).chain(["schema/", "profile/"]);
    if !names.clone().any(|name| name.starts_with(wanted) || wanted.starts_with(name)) {
        print_stderr(&format!("no result begins with {wanted}; the results are"));
        names.for_each(|name| print_stderr(&format!("  {name}")));
        std::process::exit(2);
    }
}

fn digits(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.3}"),
    }
}

const fn row(name: &'static str, aim: Aim, compared: &'static str) -> Row {
    Row { name, aim, compared }
}

use Aim::{AtLeast, AtMost, Informational};

/// All results except those of `schema/` and `profile/`.
#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    row("append/1/latency-to-plain", AtMost(1.15),
        "p50 of a conditional append, to a plain prepared INSERT, 1 client"),
    row("append/1/predecessor", AtLeast(2.5),
        "conditional append, to the predecessor's statement, 1 client"),
    row("append/8/plain", AtLeast(1.1),
        "conditional append, to plain INSERT, 8 clients"),
    row("append/64/plain", AtLeast(2.5),
        "conditional append, to plain INSERT, 64 clients"),
    row("append/64/p99-to-p50", AtMost(4.0),
        "p99 of a conditional append, to its p50, 64 clients"),
    row("append/64/p99-to-p50/plain", Informational,
        "p99 of a plain INSERT, to its p50, 64 clients"),
    row("append/64/predecessor", AtLeast(12.0),
        "conditional append, to the predecessor's statement, 64 clients"),
    row("append/256/plain", AtLeast(3.0),
        "conditional append, to plain INSERT, 256 clients"),
    row("append/small/1/predecessor", Informational,
        "conditional append, to the predecessor's statement, 10 thousand events (its best case), 1 client"),
    row("append/small/64/predecessor", Informational,
        "conditional append, to the predecessor's statement, 10 thousand events, 64 clients"),
    row("append/1/no-match/latency-to-plain", AtMost(2.0),
        "p50 of an append if its boundary has no event, to a plain prepared INSERT, 1 client"),
    row("append/8/no-match/plain", AtLeast(0.8),
        "append if its boundary has no event, to plain INSERT, 8 clients"),
    row("append/64/no-match/plain", AtLeast(2.0),
        "append if its boundary has no event, to plain INSERT, 64 clients"),
    row("append/256/no-match/plain", AtLeast(2.5),
        "append if its boundary has no event, to plain INSERT, 256 clients"),
    row("append/first/latency", AtMost(3.0),
        "time of the first append of a store, to a later one; their boundaries have no event"),
    row("append/wide/others", AtMost(1.5),
        "p50 of 8 clients with a ninth client with a filter of 10,000 terms, to without it"),
    row("append/wide/others/elsewhere", AtMost(1.5),
        "the same with the ninth client in another store, to a ninth client with 4 terms"),
    row("append/hot/64/by-hand", AtLeast(0.5),
        "query and append until accepted, to decide, 64 clients on 4 boundaries"),
    row("append/flat/id", AtMost(1.1),
        "p50 of an append at 10 million events, to 10 thousand, condition on an id"),
    row("append/flat/type", AtMost(1.1),
        "the same, condition on the type of half of the events"),
    row("append/flat/plain", Informational,
        "the same for a plain INSERT, whose indexes grow"),
    row("append/flat/old", AtMost(3.0),
        "p50 of an append with a condition 100,000 events old, to a fresh one"),
    row("append/flat/far", Informational,
        "the same with a condition 2,000,000 events old"),
    row("append/processes/2", AtLeast(1.3),
        "2 processes x 32 clients, to 1 process with 64 clients"),
    row("append/processes/4", Informational,
        "4 processes x 16 clients, to 1 process with 64 clients"),
    row("append/processes/8", AtLeast(1.0),
        "8 processes x 8 clients, to 1 process with 64 clients"),
    row("append/processes/8/plain", Informational,
        "8 processes x 8 clients, to plain INSERT with 64 clients"),
    row("append/sync-standby/64", AtLeast(0.7),
        "conditional append with a synchronous standby, to an asynchronous one, 64 clients"),
    row("append/sync-standby/64/plain", Informational,
        "the same for a plain INSERT"),
    row("fresh/idle/wait-to-delay", AtMost(1.3),
        "p50 of an append and a read at its position, beyond a plain read, to the append's replication delay"),
    row("fresh/idle/wait-ms", Informational,
        "wait of the read from the return of the append, in ms"),
    row("fresh/idle/delay-ms", Informational,
        "replication delay from the return of the append, in ms"),
    row("fresh/idle/wait-to-delay/after", Informational,
        "the ratio of these two"),
    row("fresh/64/wait-to-delay", AtMost(1.5),
        "as fresh/idle/wait-to-delay, with 64 clients that append and read"),
    row("fresh/64/wait-ms", Informational,
        "wait of the read from the return of the append, 64 clients, in ms"),
    row("fresh/64/delay-ms", Informational,
        "replication delay from the return of the append, next to 64 clients, in ms"),
    row("fresh/64/poller", Informational,
        "p50 of such a read next to the connection that polls, to without it, 64 clients"),
    row("fresh/waiting/queries", AtMost(1.1),
        "statements per second that 1,000 waiting readers cost a paused replica, to one reader"),
    row("fresh/stale/rows", AtMost(0.0),
        "events that a paused replica sent to readers who asked for more than it had"),
    row("fresh/stale/pages", Informational,
        "pages of the log and its indexes that the replica read for each of them"),
    row("replicas/2/throughput", AtLeast(1.8),
        "lending queries of two throttled replicas, to one, 16 clients"),
    row("replicas/unequal/throughput", Informational,
        "a throttled replica and one of a quarter of its speed, to the first alone, 16 clients"),
    row("replicas/frozen/p99", AtMost(1.5),
        "p99 of reads while one of three replicas is frozen, to before"),
    row("replicas/frozen/longest-ms", Informational,
        "longest read of a round while one of three replicas is frozen, in ms"),
    row("replicas/frozen/longest-ms/before", Informational,
        "the same before it is frozen"),
    row("replicas/primary-share", AtMost(0.25),
        "CPU time of the primary per operation of the demo with 90 % of queries, 2 replicas to none"),
    row("failover/gap-ms", Informational,
        "time without a successful append, from a kill of the primary to the promoted standby, in ms"),
    row("failover/store-ms", Informational,
        "the part of it after the promoted standby accepted writes, in ms"),
    row("failover/wrong", AtMost(0.0),
        "appends that were lost, stored twice, stored although refused, or out of order"),
    row("append/remote-apply/64", Informational,
        "conditional append that waits for the standby's replay, to an asynchronous one, 64 clients"),
    row("append/remote-apply/1/latency", Informational,
        "p50 of the same, to an asynchronous one, 1 client"),
    row("append/remote-apply/1/read", Informational,
        "p50 of such an append and a plain read on the standby, to an asynchronous one and at_least"),
    row("query/lending/bare", AtMost(1.1),
        "p50 of the history for lending a book, to a plain prepared SELECT without the head"),
    row("query/lending/predecessor", AtMost(0.5),
        "p50 of the history for lending a book, to the predecessor's statement on its schema"),
    row("query/type-limit/bare", AtMost(1.1),
        "p50 of the newest 100 events of the type of half of the events, to a plain SELECT"),
    row("query/id/bare", Informational,
        "p50 of all events of an id (40 events), to a plain SELECT"),
    row("query/after/bare", Informational,
        "p50 of the last 1,000 events by position, to a plain SELECT"),
    row("query/heavy/type/jit", Informational,
        "time of reading all events of the type of half of the events with JIT, to without"),
    row("query/heavy/type/parallel", Informational,
        "the same with two parallel workers, to without"),
    row("query/heavy/type/work-mem", Informational,
        "the same with 64 MB of work_mem, to 4 MB"),
    row("query/heavy/readers/jit", Informational,
        "time of reading the events of 1,000 readers (40,000 events) with JIT, to without"),
    row("query/heavy/readers/parallel", Informational,
        "the same with two parallel workers, to without"),
    row("query/heavy/readers/work-mem", Informational,
        "the same with 64 MB of work_mem, to 4 MB"),
    row("stream/100k/raw", AtLeast(0.9),
        "stream of 100,000 events, to rows of query_raw"),
    row("stream/100k/buffered", Informational,
        "query of 100,000 events into a Vec, to rows of query_raw"),
    row("stream/100k/rss-mb", AtMost(8.0),
        "peak growth of memory in MB of a stream of 100,000 events"),
    row("stream/100k/rss-mb/raw", Informational,
        "the same for query_raw"),
    row("stream/100k/rss-mb/buffered", Informational,
        "the same for a query into a Vec"),
    row("import/copy", AtLeast(0.7),
        "import, to a binary COPY, 20,000 events each"),
    row("import/append-p99-ms", Informational,
        "p99 of an append during an import, in ms"),
    row("decide/hot/64/wrong", AtMost(0.0),
        "wrong decisions, 64 writers on one boundary"),
    row("decide/hot/64/optimistic", Informational,
        "decide, to query and append until accepted, 64 writers"),
    row("decide/hot/64/by-hand", Informational,
        "decide, to a transaction of lock, read, insert and commit, 64 writers"),
    row("decide/crossing/64/wrong", AtMost(0.0),
        "wrong decisions, 64 writers on overlapping boundaries"),
    row("decide/crossing/64/optimistic", Informational,
        "decide, to query and append until accepted, 64 writers"),
    row("decide/crossing/64/by-hand", Informational,
        "decide, to a transaction of lock, read, insert and commit, 64 writers"),
    row("retry/ready/bare", Informational,
        "a ready future in Retry with the default policy, to awaiting it directly"),
    row("retry/ready/nanoseconds", Informational,
        "overhead of Retry for a ready future, in ns"),
    row("telemetry/metrics/1/append", AtMost(1.03),
        "p50 of an append with metrics, to without, 1 client"),
    row("telemetry/metrics/1/query", AtMost(1.03),
        "p50 of the history for lending a book with metrics, to without, 1 client"),
    row("telemetry/metrics/64/append", AtMost(1.03),
        "time per append with metrics, to without, 64 clients"),
    row("telemetry/metrics/64/query", AtMost(1.03),
        "time per history with metrics, to without, 64 clients"),
    row("telemetry/traces/1/append", AtMost(1.05),
        "p50 of an append with metrics and traces, to without, 1 client"),
    row("telemetry/traces/1/query", AtMost(1.05),
        "p50 of the history for lending a book with both, to without, 1 client"),
    row("telemetry/traces/64/append", AtMost(1.05),
        "time per append with both, to without, 64 clients"),
    row("telemetry/traces/64/query", AtMost(1.05),
        "time per history with both, to without, 64 clients"),
    row("telemetry/noise/1/append", Informational,
        "p50 of an append of a store without metrics, to that of another one, 1 client"),
    row("telemetry/noise/1/query", Informational,
        "p50 of the history for lending a book without metrics, to that of another store, 1 client"),
    row("telemetry/noise/64/append", Informational,
        "time per append without metrics, to that of another store, 64 clients"),
    row("telemetry/noise/64/query", Informational,
        "time per history without metrics, to that of another store, 64 clients"),
    row("telemetry/metrics/allocations", Informational,
        "allocations that metrics add to an append and a query of the same history"),
    row("telemetry/traces/allocations", Informational,
        "allocations that metrics and traces add to them"),
    row("soak/64/longest-gap-ms", Informational,
        "longest time without an append, 64 clients, in ms"),
    row("soak/64/longest-append-ms", Informational,
        "longest append, 64 clients, in ms"),
];

//! The table that a run ends with: every result, what is aimed at, and what was compared.

use std::fmt;
use std::fmt::Write as _;

use console::{print_stderr, print_stdout};

/// A result that a run can have.
pub struct Row {
    pub name: &'static str,
    pub aim: Aim,
    pub compared: &'static str,
}

/// What a result should be.
#[derive(Clone, Copy)]
pub enum Aim {
    AtLeast(f64),
    AtMost(f64),
    /// It is told, and nothing is aimed at.
    Told,
}

/// What a run has found so far.
#[derive(Default)]
pub struct Table {
    found: Vec<(String, f64, Aim, String)>,
}

impl Table {
    /// Takes note of a result, of which [`ROWS`] knows the rest.
    pub fn report(&mut self, name: &str, value: f64) {
        let row = ROWS.iter().find(|row| row.name == name).expect("a row of this name");
        self.add(name, value, row.aim, row.compared);
    }

    /// Takes note of a result that is one of many alike.
    pub fn tell(&mut self, name: &str, value: f64, compared: &str) {
        self.add(name, value, Aim::Told, compared);
    }

    fn add(&mut self, name: &str, value: f64, aim: Aim, compared: &str) {
        print_stdout(&format_args!("RATIO {name} {}   {aim:<10} # {compared}", digits(value)));
        self.found.push((name.to_owned(), value, aim, compared.to_owned()));
    }

    /// Prints all results.
    pub fn print(&self) {
        let mut text =
            format!("\n{:<34} {:>9}  {:<10} what was compared\n", "result", "value", "aim");
        for (name, value, aim, compared) in &self.found {
            let verdict = if aim.is_met_by(*value) { "" } else { " (missed)" };
            // Writing to a string does not fail.
            let _ =
                writeln!(text, "{name:<34} {:>9}  {aim:<10} {compared}{verdict}", digits(*value));
        }
        print_stdout(&text);
    }

    /// Renders all results for a document.
    pub fn markdown(&self, conditions: &str) -> String {
        let mut text = format!("{conditions}\n\n| result | value | aim | what was compared |\n");
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
            Self::Told => true,
        }
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => f.pad(&format!(">= {least}")),
            Self::AtMost(most) => f.pad(&format!("<= {most}")),
            Self::Told => f.pad(""),
        }
    }
}

/// Stops the program where no result begins like that.
pub fn check(wanted: &str) {
    let names = ROWS.iter().map(|row| row.name).chain(["schema/", "profile/"]);
    if !names.clone().any(|name| name.starts_with(wanted) || wanted.starts_with(name)) {
        print_stderr(&format!("nothing is called {wanted}; there is"));
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

use Aim::{AtLeast, AtMost, Told};

/// All results but those that are many alike.
#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    row("append/1/latency-to-plain", AtMost(1.15),
        "p50 of a conditional append to p50 of a plain prepared INSERT, 1 client"),
    row("append/1/predecessor", AtLeast(2.5),
        "appends per second to those of the predecessor's statement, 1 client"),
    row("append/8/plain", AtLeast(1.1),
        "appends per second to plain INSERTs per second, 8 clients"),
    row("append/64/plain", AtLeast(2.5),
        "appends per second to plain INSERTs per second, 64 clients"),
    row("append/64/p99-to-p50", AtMost(4.0),
        "p99 of an append to its p50, 64 clients"),
    row("append/64/p99-to-p50/plain", Told,
        "the same of the plain INSERT"),
    row("append/64/predecessor", AtLeast(12.0),
        "appends per second to those of the predecessor's statement, 64 clients"),
    row("append/256/plain", AtLeast(3.0),
        "appends per second to plain INSERTs per second, 256 clients"),
    row("append/small/1/predecessor", Told,
        "as append/1/predecessor, 10 thousand events, where the predecessor is at its best"),
    row("append/small/64/predecessor", Told,
        "as append/64/predecessor, 10 thousand events"),
    row("append/1/no-match/latency-to-plain", AtMost(2.0),
        "p50 of an append if nothing of its boundary ever came, to a plain prepared INSERT, 1 client"),
    row("append/8/no-match/plain", AtLeast(0.8),
        "appends per second if nothing of their boundaries ever came, to plain INSERT, 8 clients"),
    row("append/64/no-match/plain", AtLeast(2.0),
        "the same, 64 clients"),
    row("append/256/no-match/plain", AtLeast(2.5),
        "the same, 256 clients"),
    row("append/first/latency", AtMost(3.0),
        "the first append of a process, if nothing of its boundary ever came, to a later one"),
    row("append/wide/others", AtMost(1.5),
        "p50 of appends of 8 clients beside one with a filter of 10,000 terms, to without it"),
    row("append/wide/others/elsewhere", AtMost(1.5),
        "the same beside another store, so that the server validates, to beside one with a filter of 4 terms"),
    row("append/hot/64/by-hand", AtLeast(0.5),
        "accepted decisions per second of query, append, again if refused, to decide, 64 clients on 4 boundaries"),
    row("append/flat/id", AtMost(1.1),
        "append p50 at 10 million events to 10 thousand, condition on an id"),
    row("append/flat/type", AtMost(1.1),
        "the same, condition on a type that half of the log has"),
    row("append/flat/plain", Told,
        "the same of the plain INSERT, whose indexes grow"),
    row("append/flat/old", AtMost(3.0),
        "append p50 on a condition 100,000 events old to a fresh one"),
    row("append/flat/far", Told,
        "the same, 2,000,000 events old"),
    row("append/processes/2", AtLeast(1.3),
        "appends per second of 2 processes of 32 clients to 1 of 64"),
    row("append/processes/4", Told,
        "appends per second of 4 processes of 16 clients to 1 of 64"),
    row("append/processes/8", AtLeast(1.0),
        "appends per second of 8 processes of 8 clients to 1 of 64"),
    row("append/processes/8/plain", Told,
        "appends per second of 8 processes of 8 clients to plain INSERTs per second, 64 clients"),
    row("append/sync-standby/64", AtLeast(0.7),
        "appends per second with a synchronous standby to an asynchronous one, 64 clients"),
    row("append/sync-standby/64/plain", Told,
        "the same of the plain INSERT"),
    row("query/lending/bare", AtMost(1.1),
        "p50 of the lending query to the bare prepared statement, without the log's end"),
    row("query/lending/predecessor", AtMost(0.5),
        "p50 of the lending query to the predecessor's shape on its own schema"),
    row("query/type-limit/bare", AtMost(1.1),
        "p50 of the newest 100 of a type that half of the log has, to the bare statement"),
    row("query/id/bare", Told,
        "p50 of everything of one id (40 events), to the bare statement"),
    row("query/after/bare", Told,
        "p50 of everything after a position 1,000 events old, to the bare statement"),
    row("stream/100k/raw", AtLeast(0.9),
        "events per second of a stream to rows per second of query_raw, 100,000 events"),
    row("stream/100k/buffered", Told,
        "events per second of a query, all in a Vec, to rows per second of query_raw"),
    row("stream/100k/rss-mb", AtMost(8.0),
        "MB of memory that streaming 100,000 events adds at most to a process"),
    row("stream/100k/rss-mb/raw", Told,
        "the same of query_raw"),
    row("stream/100k/rss-mb/buffered", Told,
        "the same of a query, all in a Vec"),
    row("import/copy", AtLeast(0.7),
        "events per second of an import to those of a binary COPY, 20,000 events at once"),
    row("import/append-p99-ms", Told,
        "ms that an append takes beside an import, p99"),
    row("decide/hot/64/wrong", AtMost(0.0),
        "wrong decisions of all, 64 writers on one boundary"),
    row("decide/hot/64/optimistic", Told,
        "accepted decisions per second to those that try again at once"),
    row("decide/hot/64/by-hand", Told,
        "the same to advisory lock, read, insert and commit, a round trip each"),
    row("decide/crossing/64/wrong", AtMost(0.0),
        "wrong decisions of all, 64 writers on boundaries that overlap"),
    row("decide/crossing/64/optimistic", Told,
        "accepted decisions per second to those that try again at once"),
    row("decide/crossing/64/by-hand", Told,
        "the same to advisory lock, read, insert and commit, a round trip each"),
    row("retry/ready/bare", Told,
        "a ready future through Retry under the default policy, to awaiting it bare"),
    row("retry/ready/nanoseconds", Told,
        "ns that Retry adds to a ready future"),
    row("soak/64/longest-gap-ms", Told,
        "ms in which no append of 64 clients ended, at most"),
    row("soak/64/longest-append-ms", Told,
        "ms that an append took at most"),
];

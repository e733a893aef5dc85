use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use library::commands::{
    AddBookCopy, CancelReaderContract, Command, LendBookCopyToReader, RegisterReader,
    RemoveBookCopy, ReturnBookCopyFromReader,
};
use library::queries::{
    BooksInCirculation, BooksLentByReader, BooksLentOut, CanceledReaders, FinishedLendings, Query,
    RegisteredReaders, RemovedBooks,
};
use serde::Serialize;

use crate::args::Args;
use crate::audit::Audit;
use crate::tally::{Ending, Measured, Tally};

/// Is what a load came to.
#[derive(Serialize)]
pub(crate) struct Report {
    clients: u32,
    seconds: f64,
    operations: u64,
    commands: Vec<Row>,
    queries: Vec<Row>,
    total: Row,
    reads_by_server: BTreeMap<String, u64>,
    errors: BTreeMap<String, u64>,
    pub(crate) audit: Option<Audit>,
}

/// Is a line of the table.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    counts: BTreeMap<&'static str, u64>,
    p50_ms: Option<f64>,
    p95_ms: Option<f64>,
    p99_ms: Option<f64>,
}

impl Report {
    pub(crate) fn new(args: &Args, took: Duration, tally: Tally) -> Self {
        let Tally { operations: mut measured, reads: mut reads_by_server, errors } = tally;
        let mut total = Measured::default();
        let mut rows = |names: &[&'static str]| -> Vec<Row> {
            let row = |name: &&'static str| {
                let measured = measured.remove(name).unwrap_or_default();
                total.add(&measured);
                Row::new(name, &measured)
            };
            names.iter().map(row).collect()
        };
        let (commands, queries) = (rows(&COMMANDS), rows(&QUERIES));
        // Every command reads once before it decides, and a read-write store has one server.
        let by_commands = commands.iter().map(Row::answered).sum();
        reads_by_server.insert("primary".to_owned(), by_commands);
        Self {
            clients: args.clients,
            seconds: took.as_secs_f64(),
            operations: total.total(),
            commands,
            queries,
            total: Row::new("all", &total),
            reads_by_server,
            errors,
            audit: None,
        }
    }
}

impl Row {
    fn new(name: &'static str, measured: &Measured) -> Self {
        Self {
            name,
            counts: Ending::ALL.map(|ending| (ending.name(), measured.count(ending))).into(),
            p50_ms: measured.milliseconds(0.50),
            p95_ms: measured.milliseconds(0.95),
            p99_ms: measured.milliseconds(0.99),
        }
    }

    fn answered(&self) -> u64 {
        let endings = Ending::ALL.into_iter().filter(|ending| *ending != Ending::Error);
        endings.map(|ending| self.counts[ending.name()]).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clients, seconds, operations, .. } = self;
        let rate = *operations as f64 / seconds;
        writeln!(f, "{operations} operations in {seconds:.1} s by {clients} clients: {rate:.0}/s")?;
        let total = std::slice::from_ref(&self.total);
        for (heading, rows) in
            [("command", self.commands.as_slice()), ("query", &self.queries), ("", total)]
        {
            heading_of(heading, f)?;
            rows.iter().try_for_each(|row| row.fmt(f))?;
        }
        let reads = self.reads_by_server.iter();
        let reads: Vec<_> = reads.map(|(server, count)| format!("{server} {count}")).collect();
        writeln!(f, "\nreads by server: {}", reads.join(", "))?;
        self.errors.iter().try_for_each(|(text, count)| writeln!(f, "error, {count} times: {text}"))
    }
}

fn heading_of(name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "\n{name:NAME$}")?;
    for column in Ending::ALL.map(Ending::name).into_iter().chain(["P50 ms", "P95 ms", "P99 ms"]) {
        write!(f, "{column:>COUNT$}")?;
    }
    writeln!(f)
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:NAME$}", self.name)?;
        for ending in Ending::ALL {
            write!(f, "{:>COUNT$}", self.counts[ending.name()])?;
        }
        for milliseconds in [self.p50_ms, self.p95_ms, self.p99_ms] {
            match milliseconds {
                Some(milliseconds) => write!(f, "{milliseconds:>COUNT$.1}")?,
                None => write!(f, "{:>COUNT$}", "-")?,
            }
        }
        writeln!(f)
    }
}

/// The widths of the table's columns.
const NAME: usize = 26;
const COUNT: usize = 11;

const COMMANDS: [&str; 6] = [
    AddBookCopy::NAME,
    RemoveBookCopy::NAME,
    RegisterReader::NAME,
    CancelReaderContract::NAME,
    LendBookCopyToReader::NAME,
    ReturnBookCopyFromReader::NAME,
];
const QUERIES: [&str; 7] = [
    BooksInCirculation::NAME,
    BooksLentOut::NAME,
    BooksLentByReader::NAME,
    RegisteredReaders::NAME,
    CanceledReaders::NAME,
    RemovedBooks::NAME,
    FinishedLendings::NAME,
];

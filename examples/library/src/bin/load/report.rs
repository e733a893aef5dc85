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
use crate::metrics::{Metrics, OperationMetrics, Status};

/// The report of a load.
#[derive(Serialize)]
pub(crate) struct Report {
    clients: u32,
    seconds: f64,
    operations: u64,
    commands: Vec<Row>,
    queries: Vec<Row>,
    total: Row,
    reads_by_server: BTreeMap<String, u64>,
    /// The CPU time of the primary per operation, if it is known.
    primary_cpu_ms: Option<f64>,
    errors: BTreeMap<String, u64>,
    pub(crate) audit: Option<Audit>,
}

/// A row of the report: one command or query.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    counts: BTreeMap<&'static str, u64>,
    p50_ms: Option<f64>,
    p95_ms: Option<f64>,
    p99_ms: Option<f64>,
}

impl Report {
    pub(crate) fn new(
        args: &Args,
        took: Duration,
        metrics: Metrics,
        primary_cpu: Option<Duration>,
    ) -> Self {
        let Metrics { operations: mut measured, reads: mut reads_by_server, errors } = metrics;
        let mut total = OperationMetrics::default();
        let mut rows = |names: &[&'static str]| -> Vec<Row> {
            let row = |name: &&'static str| {
                let measured = measured.remove(name).unwrap_or_default();
                total.merge(&measured);
                Row::new(name, &measured)
            };
            names.iter().map(row).collect()
        };
        let (commands, queries) = (rows(&COMMANDS), rows(&QUERIES));
        // Each command reads once before it decides, always from the primary.
        let command_reads = commands.iter().map(Row::answered).sum();
        reads_by_server.insert("primary".to_owned(), command_reads);
        let operations = total.total();
        let per_operation = |cpu: Duration| cpu.as_secs_f64() * 1e3 / operations.max(1) as f64;
        Self {
            clients: args.clients,
            seconds: took.as_secs_f64(),
            operations,
            commands,
            queries,
            total: Row::new("all", &total),
            reads_by_server,
            primary_cpu_ms: primary_cpu.map(per_operation),
            errors,
            audit: None,
        }
    }
}

impl Row {
    fn new(name: &'static str, measured: &OperationMetrics) -> Self {
        Self {
            name,
            counts: Status::ALL.map(|status| (status.name(), measured.count(status))).into(),
            p50_ms: measured.milliseconds(0.50),
            p95_ms: measured.milliseconds(0.95),
            p99_ms: measured.milliseconds(0.99),
        }
    }

    fn answered(&self) -> u64 {
        let statuses = Status::ALL.into_iter().filter(|status| *status != Status::Error);
        statuses.map(|status| self.counts[status.name()]).sum()
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
            write_heading(heading, f)?;
            rows.iter().try_for_each(|row| row.fmt(f))?;
        }
        let reads = self.reads_by_server.iter();
        let reads: Vec<_> = reads.map(|(server, count)| format!("{server} {count}")).collect();
        writeln!(f, "\nreads by server: {}", reads.join(", "))?;
        if let Some(cpu) = self.primary_cpu_ms {
            writeln!(f, "CPU time of the primary: {cpu:.3} ms per operation")?;
        }
        self.errors.iter().try_for_each(|(text, count)| writeln!(f, "error, {count} times: {text}"))
    }
}

fn write_heading(name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "\n{name:NAME_WIDTH$}")?;
    for column in Status::ALL.map(Status::name).into_iter().chain(["P50 ms", "P95 ms", "P99 ms"]) {
        write!(f, "{column:>COLUMN_WIDTH$}")?;
    }
    writeln!(f)
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:NAME_WIDTH$}", self.name)?;
        for status in Status::ALL {
            write!(f, "{:>COLUMN_WIDTH$}", self.counts[status.name()])?;
        }
        for milliseconds in [self.p50_ms, self.p95_ms, self.p99_ms] {
            match milliseconds {
                Some(milliseconds) => write!(f, "{milliseconds:>COLUMN_WIDTH$.1}")?,
                None => write!(f, "{:>COLUMN_WIDTH$}", "-")?,
            }
        }
        writeln!(f)
    }
}

/// The width of the first column.
const NAME_WIDTH: usize = 26;
/// The width of each other column.
const COLUMN_WIDTH: usize = 11;

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

use std::fmt;

use crate::report::number::{count, decimal};
use crate::report::{Figures, Report};
use crate::tally::{Latencies, Outcomes};

impl Report {
    /// Writes a table with a row for each command and query.
    pub(super) fn write_operations(
        &self,
        figures: &Figures,
        f: &mut fmt::Formatter<'_>,
    ) -> fmt::Result {
        let totals = [
            ("command", "all commands", &figures.commands, &self.load.commands, false),
            ("query", "all queries", &figures.queries, &self.load.queries, true),
        ];
        for (heading, total_name, total, latencies, is_query) in totals {
            write_heading(heading, f)?;
            for (name, operation) in &self.load.operations {
                if operation.group.is_query() == is_query {
                    write_row(name, &operation.outcomes, &operation.latencies, f)?;
                }
            }
            write_row(total_name, total, latencies, f)?;
        }
        writeln!(f, "times in ms from the intended start; service: from the actual start")
    }
}

fn write_heading(name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "\n{name:NAME_WIDTH$}")?;
    for column in ["success", "idempotent", "rejected", "conflict", "error"] {
        write!(f, "{column:>COUNT_WIDTH$}")?;
    }
    for column in ["p50", "p95", "p99", "p99.9", "service p99"] {
        write!(f, "{column:>width$}", width = time_width(column))?;
    }
    writeln!(f)
}

fn write_row(
    name: &str,
    outcomes: &Outcomes,
    latencies: &Latencies,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let Outcomes { success, idempotent, rejected, conflict, error } = *outcomes;
    let Latencies { latency, service } = latencies;
    write!(f, "{name:NAME_WIDTH$}")?;
    for number in [success, idempotent, rejected, conflict, error] {
        write!(f, "{:>COUNT_WIDTH$}", count(number))?;
    }
    let times = [
        ("p50", latency.p50),
        ("p95", latency.p95),
        ("p99", latency.p99),
        ("p99.9", latency.p999),
        ("service p99", service.p99),
    ];
    for (column, time) in times {
        let time = if latency.count == 0 { "-".to_owned() } else { decimal(time) };
        write!(f, "{time:>width$}", width = time_width(column))?;
    }
    writeln!(f)
}

fn time_width(column: &str) -> usize {
    column.len().max(5) + 3
}

const NAME_WIDTH: usize = 24;
const COUNT_WIDTH: usize = 11;

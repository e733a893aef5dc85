//! What `pg_stat_statements` counts and measures.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use crate::Failure;
use crate::testbed::Log;

/// The statements of a log, by their text.
#[derive(Clone, Debug, Default)]
pub struct Statements(BTreeMap<String, Times>);

/// How often a statement was executed, and for how long.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Times {
    /// The number of executions that ended without an error.
    pub calls: u64,
    /// The time of their executions and of their planning, in seconds.
    pub seconds: f64,
}

/// A kind of statement that a store sends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StatementKind {
    /// The read of a head and of few events in one statement.
    Few,
    /// The read of any number of events, which is sent with a read of the head.
    Many,
}

impl Statements {
    /// Reads the statistics of the statements that name a log.
    ///
    /// # Errors
    ///
    /// [`Failure::Sql`].
    pub async fn of(client: &Client, log: Log) -> Result<Self, Failure> {
        let text = "SELECT query, sum(calls)::int8,
                 sum(total_exec_time + total_plan_time)::float8 / 1000
             FROM pg_stat_statements
             WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
                 AND strpos(query, $1) > 0
             GROUP BY query";
        let read = client.query(text, &[&log.name()]).await;
        let rows = read.map_err(Failure::sql("read pg_stat_statements"))?;
        let times = rows.iter().map(|row| {
            let times = Times { calls: row.get::<_, i64>(1).unsigned_abs(), seconds: row.get(2) };
            (row.get(0), times)
        });
        Ok(Self(times.collect()))
    }

    /// Returns the growth since an earlier time.
    pub fn since(&self, earlier: &Self) -> Self {
        let growth = |(text, now): (&String, &Times)| {
            let before = earlier.0.get(text).copied().unwrap_or_default();
            let calls = now.calls - before.calls;
            (text.clone(), Times { calls, seconds: now.seconds - before.seconds })
        };
        Self(self.0.iter().map(growth).collect())
    }

    /// Returns the sum of the statements of a kind.
    pub fn of_kind(&self, kind: StatementKind) -> Times {
        let of_kind = self.0.iter().filter(|(text, _)| kind.is_kind_of(text));
        of_kind.fold(Times::default(), |sum, (_, one)| Times {
            calls: sum.calls + one.calls,
            seconds: sum.seconds + one.seconds,
        })
    }
}

impl Times {
    /// Returns the mean time of an execution.
    pub fn mean(self) -> f64 {
        self.seconds / self.calls as f64
    }
}

impl StatementKind {
    /// Both kinds have the columns of events; only one has candidates.
    fn is_kind_of(self, text: &str) -> bool {
        let (is_few, reads) = (text.contains("WITH candidate AS"), text.contains(EVENT_COLUMNS));
        match self {
            Self::Few => is_few && reads,
            Self::Many => !is_few && reads && text.trim_start().starts_with("SELECT "),
        }
    }
}

/// A part of the column list of the statements with which a store reads events.
const EVENT_COLUMNS: &str = "recorded_at, event_type, payload, metadata";

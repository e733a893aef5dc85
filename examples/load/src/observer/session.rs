use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, Row};

use crate::servers::{READER, SqlAddress, SqlFailure};

/// A connection of the observer to a server.
#[derive(Debug)]
pub(super) struct Session {
    client: Client,
    table: String,
    pub(super) version: String,
    /// Whether the role may read the statistics of all sessions and statements.
    pub(super) sees_all: bool,
}

/// What a server says of itself at a time. A part that it refuses is an error.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) state: Result<State, Error>,
    pub(super) waits: Result<BTreeMap<String, u64>, Error>,
    pub(super) reads: Result<Reads, Error>,
}

/// The state of a log on a server.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    pub(super) is_replica: bool,
    pub(super) head: i64,
    /// The time of the server's clock, in seconds since 1970.
    pub(super) clock: f64,
}

/// The reads since the start of a server's statistics.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reads {
    pub(super) all: i64,
    /// Those of the role of the read-only stores, if there is such a role.
    pub(super) queries: Option<i64>,
}

/// The statistics that reads are counted by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ReadSource {
    /// The calls of the statements that read events.
    Statements,
    /// The scans of the log's table and of its indexes.
    Scans,
    /// None.
    Missing,
}

impl Session {
    pub(super) async fn open(
        address: &SqlAddress,
        table: &str,
        longest: Duration,
    ) -> Result<Self, SqlFailure> {
        let client = address.connect(APPLICATION, longest).await?;
        let text = "SELECT current_setting('server_version'),
                 pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')";
        let facts = timeout(longest, client.query_one(text, &[])).await;
        let facts = facts.map_err(|_| SqlFailure::TimedOut(longest))?;
        let facts = facts.and_then(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        let (version, sees_all) = facts.map_err(SqlFailure::Sql)?;
        Ok(Self { client, table: table.to_owned(), version, sees_all })
    }

    /// Asks for all parts at once.
    pub(super) async fn ask(&self, source: ReadSource) -> Answer {
        let (state, waits, reads) = tokio::join!(self.state(), self.waits(), self.reads(source));
        Answer { state, waits, reads }
    }

    /// Returns the age of the oldest event after each head, in milliseconds, as it was at a state
    /// of this server. It is zero if there was no such event.
    pub(super) async fn lags(&self, heads: &[i64], state: State) -> Result<Vec<f64>, Error> {
        let table = &self.table;
        let text = format!(
            "SELECT coalesce((
                 SELECT $3::float8 - extract(epoch FROM event.recorded_at)::float8
                 FROM {table} AS event
                 WHERE event.sequence_number > given.head AND event.sequence_number <= $2
                 ORDER BY event.sequence_number LIMIT 1
             ), 0)
             FROM unnest($1::int8[]) WITH ORDINALITY AS given (head, number)
             ORDER BY given.number"
        );
        let rows = self.client.query(&text, &[&heads, &state.head, &state.clock]).await?;
        let seconds = |row: &Row| row.try_get::<_, f64>(0).map(|age| (age * 1e3).max(0.0));
        rows.iter().map(seconds).collect()
    }

    /// Returns whether the server is a primary.
    pub(super) async fn is_primary(&self) -> Result<bool, Error> {
        Ok(!self.state().await?.is_replica)
    }

    /// Returns the number of transactions after a position, by their number of events.
    pub(super) async fn batches(&self, after: i64) -> Result<BTreeMap<u64, u64>, Error> {
        let table = &self.table;
        let text = format!(
            "SELECT size, count(*) FROM (
                 SELECT count(*) AS size FROM {table}
                 WHERE sequence_number > $1 GROUP BY xmin::text
             ) AS batch GROUP BY size"
        );
        let rows = self.client.query(&text, &[&after]).await?;
        rows.iter().map(pair).collect()
    }

    async fn state(&self) -> Result<State, Error> {
        let text = format!(
            "SELECT pg_is_in_recovery(), coalesce(max(sequence_number), 0),
                 extract(epoch FROM clock_timestamp())::float8 FROM {}",
            self.table
        );
        let row = self.client.query_one(&text, &[]).await?;
        Ok(State { is_replica: row.try_get(0)?, head: row.try_get(1)?, clock: row.try_get(2)? })
    }

    async fn waits(&self) -> Result<BTreeMap<String, u64>, Error> {
        let text = "SELECT coalesce(wait_event_type || ':' || wait_event, 'running'), count(*)
             FROM pg_stat_activity
             WHERE backend_type = 'client backend' AND state = 'active' AND application_name <> $1
             GROUP BY 1";
        let rows = self.client.query(text, &[&APPLICATION]).await?;
        let wait = |row: &Row| Ok((row.try_get(0)?, row.try_get::<_, i64>(1)?.unsigned_abs()));
        rows.iter().map(wait).collect()
    }

    pub(super) async fn reads(&self, source: ReadSource) -> Result<Reads, Error> {
        match source {
            ReadSource::Statements => self.reads_by_statements().await,
            ReadSource::Scans => self.reads_by_scans().await,
            ReadSource::Missing => Ok(Reads { all: 0, queries: None }),
        }
    }

    /// The statements are told apart by their columns, which only a read of events selects. The
    /// text of this query has them as parameters.
    async fn reads_by_statements(&self) -> Result<Reads, Error> {
        let text = "SELECT coalesce(sum(calls), 0)::int8,
                 CASE WHEN to_regrole($3) IS NOT NULL THEN
                     coalesce(sum(calls) FILTER (WHERE userid = to_regrole($3)), 0)::int8 END
             FROM pg_stat_statements
             WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
                 AND strpos(query, $1) > 0 AND strpos(query, $2) > 0";
        let row = self.client.query_one(text, &[&EVENT_COLUMNS, &self.table, &READER]).await?;
        Ok(Reads { all: row.try_get(0)?, queries: row.try_get(1)? })
    }

    async fn reads_by_scans(&self) -> Result<Reads, Error> {
        let text = "SELECT coalesce(sum(coalesce(seq_scan, 0) + coalesce(idx_scan, 0)), 0)::int8
             FROM pg_stat_user_tables WHERE relid = to_regclass($1)";
        let row = self.client.query_one(text, &[&self.table]).await?;
        Ok(Reads { all: row.try_get(0)?, queries: None })
    }
}

/// Returns whether an error means that the server refuses the statement, rather than that it does
/// not answer now.
pub(super) fn is_refusal(error: &Error) -> bool {
    let Some(code) = error.code() else { return false };
    // The classes of access rule violations, of wrong states (a library that is not loaded), and of
    // features that are not supported.
    let classes = ["42", "55", "0A"];
    classes.iter().any(|class| code.code().starts_with(class))
        && *code != SqlState::OBJECT_IN_USE
        && *code != SqlState::LOCK_NOT_AVAILABLE
}

fn pair(row: &Row) -> Result<(u64, u64), Error> {
    Ok((row.try_get::<_, i64>(0)?.unsigned_abs(), row.try_get::<_, i64>(1)?.unsigned_abs()))
}

const APPLICATION: &str = "load observer";

/// A part of the column list of the statements with which a store reads events.
const EVENT_COLUMNS: &str = "recorded_at, event_type, payload, metadata";

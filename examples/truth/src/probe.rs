//! The way from the program to the primary and back, without a store.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;
use tokio_postgres::{Client, Statement};

use crate::Failure;
use crate::boundary::LENT;
use crate::repeated::{BOOKS, RepeatedOperation};
use crate::testbed::{Log, Testbed};

/// A connection on which a statement is timed that is like that of an operation: the server works
/// about as long, waits for the same, answers as much, and writes as much to its log. A processor
/// that has nothing to do for longer takes longer to wake up, so an empty statement would find
/// another way.
pub struct Probe {
    client: Client,
    statement: Statement,
    operation: RepeatedOperation,
    times: Mutex<Vec<f64>>,
}

impl Probe {
    /// Creates the procedure that stores a row.
    ///
    /// # Errors
    ///
    /// [`Failure::Sql`].
    pub async fn prepare(testbed: &Testbed) -> Result<(), Failure> {
        let client = testbed.sql(testbed.primary()).await?;
        let created = client.batch_execute(PROCEDURE).await;
        created.map_err(Failure::sql("create a procedure"))
    }

    /// Connects to the primary.
    ///
    /// # Errors
    ///
    /// [`Failure::Sql`].
    pub async fn open(testbed: &Testbed, operation: RepeatedOperation) -> Result<Self, Failure> {
        let client = testbed.sql(testbed.primary()).await?;
        let prepared = client.prepare(&text(operation)).await;
        let statement = prepared.map_err(Failure::sql("prepare a probe"))?;
        Ok(Self { client, statement, operation, times: Mutex::default() })
    }

    /// Executes the statement.
    ///
    /// # Errors
    ///
    /// [`Failure::Sql`].
    pub async fn execute(&self, number: u64) -> Result<(), Failure> {
        let book = (number % u64::from(BOOKS)) as i64;
        let started = Instant::now();
        let answered = match self.operation {
            RepeatedOperation::Query => self.client.query(&self.statement, &[&book]).await,
            RepeatedOperation::Append => self.client.query(&self.statement, &[]).await,
        };
        answered.map_err(Failure::sql("execute a probe"))?;
        let time = started.elapsed().as_secs_f64();
        self.times.lock().unwrap_or_else(PoisonError::into_inner).push(time);
        Ok(())
    }

    /// Returns the times since the last call of this method, in seconds.
    pub fn take(&self) -> Vec<f64> {
        std::mem::take(&mut *self.times.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Returns the text of the statement of a probe.
fn text(operation: RepeatedOperation) -> String {
    match operation {
        RepeatedOperation::Query => {
            let log = Log::Repeated.name();
            format!(
                "WITH of_book AS MATERIALIZED (
                     SELECT {COLUMNS} FROM {log}
                     WHERE payload @> jsonb_build_object('BookID', 'b-' || $1::int8) LIMIT 1000
                 ), counted AS MATERIALIZED (
                     SELECT count(*) < 1000 AS is_short FROM of_book
                 )
                 SELECT (SELECT max(sequence_number) FROM {log}), NULL::uuid, NULL::timestamptz,
                     NULL::timestamptz, ''::text, jsonb_build_array(pg_is_in_recovery()), NULL::jsonb
                 WHERE (SELECT is_short FROM counted)
                 UNION ALL (
                     SELECT {COLUMNS} FROM of_book
                     WHERE (SELECT is_short FROM counted) AND event_type = '{LENT}'
                     ORDER BY sequence_number
                 )"
            )
        }
        RepeatedOperation::Append => "CALL store_probe()".to_owned(),
    }
}

/// Returns the beginning of that text, which no other statement has.
pub fn beginning(operation: RepeatedOperation) -> &'static str {
    match operation {
        RepeatedOperation::Query => "WITH of_book AS",
        RepeatedOperation::Append => "CALL store_probe()",
    }
}

const COLUMNS: &str =
    "sequence_number, event_id, occurred_at, recorded_at, event_type, payload, metadata";

/// The procedure commits, as that of an append does, so that the server's time of the statement
/// includes the flush of the WAL.
const PROCEDURE: &str = "CREATE TABLE probe (stored_at timestamptz);
    CREATE PROCEDURE store_probe() LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO probe VALUES (now()); COMMIT; END $$";

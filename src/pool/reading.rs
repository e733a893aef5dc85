use std::pin::Pin;

use futures_util::StreamExt;
use futures_util::future::{join, join3, join4};
use tokio_postgres::{Client, Row, RowStream};

use super::session::{MAX_PREPARED_TEXT, STALE, Session, StatementHandle, fetch_row, send};
use crate::Error;
use crate::error::Phase;
use crate::sql::{self, StatementPlan};

/// The rows of a read.
pub(crate) type Rows = Pin<Box<RowStream>>;

impl Session {
    /// Reads, usually in one round trip. Returns the row with the log's head, and the rows of the
    /// events if the read asks for events. If the connection is dropped before
    /// [`finish_reading`](Self::finish_reading), it is closed.
    pub(crate) async fn read(
        &mut self,
        reading: &sql::Reading<'_>,
    ) -> Result<(Row, Option<Rows>), Error> {
        match self.try_read(reading).await {
            // The prepared statements no longer exist, or would return other columns.
            Err(error) if self.prepared.is_empty() && is_stale(&error) => {
                self.try_read(reading).await
            }
            result => result,
        }
    }

    async fn try_read(&mut self, reading: &sql::Reading<'_>) -> Result<(Row, Option<Rows>), Error> {
        if self.settings.is_backend_shared() {
            return self.read_in_transaction(reading).await;
        }
        if let Some(few) = reading.few()
            && self.expects_few(&few.text)
            && let Some(answer) = self.read_few(&few).await?
        {
            return Ok(answer);
        }
        let head = reading.head();
        let head_handle = self.prepare(&head.text).await?;
        let Some(all) = reading.all() else {
            self.start_clock();
            self.state.start_reading();
            let row = fetch_row(&self.client, &head_handle, &head).await;
            self.state.finish_reading();
            return Ok((self.single_row(row)?, None));
        };
        let handle = self.prepare(&all.text).await?;
        let set_plan = self.prepare_plan(StatementPlan::Custom).await?;
        self.start_clock();
        self.state.start_reading();
        let client = &self.client;
        let (plan_set, row, rows) = join3(
            send_plan(client, set_plan.as_ref()),
            fetch_row(client, &head_handle, &head),
            send(client, &handle, &all),
        )
        .await;
        self.record_plan(plan_set, StatementPlan::Custom)?;
        let row = self.single_row(row)?;
        Ok((row, Some(Box::pin(rows.map_err(|error| self.failed(error))?))))
    }

    /// Reads in a transaction of its own, in one round trip.
    async fn read_in_transaction(
        &mut self,
        reading: &sql::Reading<'_>,
    ) -> Result<(Row, Option<Rows>), Error> {
        let (head, all) = (reading.head(), reading.all());
        self.start_clock();
        self.state.start_reading();
        let client = &self.client;
        let rows = async {
            let Some(all) = &all else { return Ok(None) };
            send(client, &StatementHandle::Unnamed, all).await.map(Some)
        };
        // The answer to `COMMIT`, which comes after the last row, is not awaited: the answer to the
        // next request comes after it.
        let (begun, row, rows, committed) = join4(
            client.batch_execute(self.settings.begin_reading()),
            fetch_row(client, &StatementHandle::Unnamed, &head),
            rows,
            client.simple_query_raw("COMMIT"),
        )
        .await;
        begun.map_err(|error| self.failed(error))?;
        let row = self.single_row(row)?;
        let rows = rows.map_err(|error| self.failed(error))?;
        committed.map_err(|error| self.failed(error))?;
        if rows.is_none() {
            self.state.finish_reading();
        }
        Ok((row, rows.map(|rows| -> Rows { Box::pin(rows) })))
    }

    /// Returns whether to try the statement for few events. If that statement found too many
    /// events, further reads with a filter of the same shape probably find too many as well.
    fn expects_few(&mut self, text: &str) -> bool {
        match self.prepared.get_mut(text) {
            Some(prepared) if prepared.skips > 0 => {
                prepared.skips -= 1;
                false
            }
            _ => text.len() <= MAX_PREPARED_TEXT,
        }
    }

    /// Reads few events. Returns `None` if there may be many.
    async fn read_few(
        &mut self,
        few: &sql::Statement<'_>,
    ) -> Result<Option<(Row, Option<Rows>)>, Error> {
        let handle = self.prepare(&few.text).await?;
        let set_plan = self.prepare_plan(StatementPlan::Generic).await?;
        self.start_clock();
        self.state.start_reading();
        let client = &self.client;
        let (plan_set, rows) =
            join(send_plan(client, set_plan.as_ref()), send(client, &handle, few)).await;
        self.record_plan(plan_set, StatementPlan::Generic)?;
        let mut rows = Box::pin(rows.map_err(|error| self.failed(error))?);
        match rows.next().await {
            Some(Ok(row)) if sql::is_head(&row) => Ok(Some((row, Some(rows)))),
            Some(Ok(_)) => Err(self.server.lost("the first row is not the log's head")),
            Some(Err(error)) => Err(self.failed(error)),
            None => {
                self.state.finish_reading();
                if let Some(prepared) = self.prepared.get_mut(few.text.as_ref()) {
                    prepared.skips = SKIPPED_READS;
                }
                Ok(None)
            }
        }
    }

    /// Prepares the statement that sets the kind of plan. Returns `None` if the session is set to
    /// it.
    async fn prepare_plan(
        &mut self,
        plan: StatementPlan,
    ) -> Result<Option<(StatementHandle, sql::Statement<'static>)>, Error> {
        if self.plan == Some(plan) {
            return Ok(None);
        }
        let set_plan = plan.set();
        let handle = self.prepare(&set_plan.text).await?;
        self.plan = None;
        Ok(Some((handle, set_plan)))
    }

    fn record_plan(
        &mut self,
        plan_set: Result<(), tokio_postgres::Error>,
        plan: StatementPlan,
    ) -> Result<(), Error> {
        plan_set.map_err(|error| self.failed(error))?;
        self.plan = Some(plan);
        Ok(())
    }

    fn single_row(
        &mut self,
        row: Result<Option<Row>, tokio_postgres::Error>,
    ) -> Result<Row, Error> {
        let row = row.map_err(|error| self.fail(error, self.server.at(Phase::Read)))?;
        row.ok_or_else(|| self.server.unversioned())
    }
}

/// Sends the statement that sets the kind of plan, if there is one.
async fn send_plan(
    client: &Client,
    set_plan: Option<&(StatementHandle, sql::Statement<'static>)>,
) -> Result<(), tokio_postgres::Error> {
    let Some((handle, set_plan)) = set_plan else { return Ok(()) };
    fetch_row(client, handle, set_plan).await.map(drop)
}

/// Returns whether the server does not know a prepared statement any more, or would return other
/// columns.
fn is_stale(error: &Error) -> bool {
    error.sqlstate().is_some_and(|code| STALE.contains(&code.as_str()))
}

/// The number of reads of one shape that skip the statement for few events after it found too many.
const SKIPPED_READS: u32 = 100;

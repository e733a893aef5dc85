use std::pin::Pin;

use futures_util::StreamExt;
use futures_util::future::{join, join3, join4};
use tokio_postgres::{Client, Row, RowStream};

use super::session::{MAX_PREPARED_TEXT, STALE, Session, StatementHandle, send, sent};
use crate::Error;
use crate::error::Phase;
use crate::sql::{self, Planning};

/// The rows of a read.
pub(crate) type Rows = Pin<Box<RowStream>>;

impl Session {
    /// Reads, in one round trip as a rule; returns the row of the log's end, and the rows of the
    /// events if they were asked for. Until [`finish_reading`](Self::finish_reading) the connection
    /// counts as busy, and is closed if it is given up.
    pub(crate) async fn read(
        &mut self,
        reading: &sql::Reading<'_>,
    ) -> Result<(Row, Option<Rows>), Error> {
        match self.try_read(reading).await {
            // The statements that it had prepared are no more, or answer otherwise than they did.
            Err(error) if self.prepared.is_empty() && is_stale(&error) => {
                self.try_read(reading).await
            }
            result => result,
        }
    }

    async fn try_read(&mut self, reading: &sql::Reading<'_>) -> Result<(Row, Option<Rows>), Error> {
        if self.terms.are_shared() {
            return self.read_in_transaction(reading).await;
        }
        if let Some(few) = reading.few()
            && self.expects_few(&few.text)
            && let Some(answer) = self.read_few(&few).await?
        {
            return Ok(answer);
        }
        let end = reading.head();
        let end_form = self.prepare(&end.text).await?;
        let Some(all) = reading.all() else {
            self.start_clock();
            self.reading = true;
            let row = sent(&self.client, &end_form, &end).await;
            self.reading = false;
            return Ok((self.only(row)?, None));
        };
        let form = self.prepare(&all.text).await?;
        let plan = self.plan(Planning::ByValue).await?;
        self.start_clock();
        self.reading = true;
        let client = &self.client;
        let (planned, row, rows) = join3(
            planned(client, plan.as_ref()),
            sent(client, &end_form, &end),
            send(client, &form, &all),
        )
        .await;
        self.note_planning(planned, Planning::ByValue)?;
        let row = self.only(row)?;
        Ok((row, Some(Box::pin(rows.map_err(|error| self.failed(error))?))))
    }

    /// Reads in a transaction of its own, in one round trip.
    async fn read_in_transaction(
        &mut self,
        reading: &sql::Reading<'_>,
    ) -> Result<(Row, Option<Rows>), Error> {
        let (end, all) = (reading.head(), reading.all());
        self.start_clock();
        self.reading = true;
        let client = &self.client;
        let rows = async {
            let Some(all) = &all else { return Ok(None) };
            send(client, &StatementHandle::Unnamed, all).await.map(Some)
        };
        // Nothing waits for the answer to `COMMIT`, which comes after the last row: whatever is asked
        // next comes after that.
        let (begun, row, rows, committed) = join4(
            client.batch_execute(self.terms.begin_reading()),
            sent(client, &StatementHandle::Unnamed, &end),
            rows,
            client.simple_query_raw("COMMIT"),
        )
        .await;
        begun.map_err(|error| self.failed(error))?;
        let row = self.only(row)?;
        let rows = rows.map_err(|error| self.failed(error))?;
        committed.map_err(|error| self.failed(error))?;
        self.reading = rows.is_some();
        Ok((row, rows.map(|rows| -> Rows { Box::pin(rows) })))
    }

    /// Returns whether a read of few events is worth a try. Where it found too many, those that come
    /// next with a filter of the same shape are likely to find them too.
    fn expects_few(&mut self, text: &str) -> bool {
        match self.prepared.get_mut(text) {
            Some(prepared) if prepared.many > 0 => {
                prepared.many -= 1;
                false
            }
            _ => text.len() <= MAX_PREPARED_TEXT,
        }
    }

    /// Reads few events, or returns `None` where there may be many.
    async fn read_few(
        &mut self,
        few: &sql::Statement<'_>,
    ) -> Result<Option<(Row, Option<Rows>)>, Error> {
        let form = self.prepare(&few.text).await?;
        let plan = self.plan(Planning::Once).await?;
        self.start_clock();
        self.reading = true;
        let client = &self.client;
        let (planned, rows) = join(planned(client, plan.as_ref()), send(client, &form, few)).await;
        self.note_planning(planned, Planning::Once)?;
        let mut rows = Box::pin(rows.map_err(|error| self.failed(error))?);
        match rows.next().await {
            Some(Ok(row)) if sql::is_head(&row) => Ok(Some((row, Some(rows)))),
            Some(Ok(_)) => Err(self.server.lost("the log's end does not come first")),
            Some(Err(error)) => Err(self.failed(error)),
            None => {
                self.reading = false;
                if let Some(prepared) = self.prepared.get_mut(few.text.as_ref()) {
                    prepared.many = READS_OF_MANY;
                }
                Ok(None)
            }
        }
    }

    /// Prepares the setting of how statements are planned, where they are planned otherwise now.
    async fn plan(
        &mut self,
        planning: Planning,
    ) -> Result<Option<(StatementHandle, sql::Statement<'static>)>, Error> {
        if self.planning == Some(planning) {
            return Ok(None);
        }
        let plan = sql::plan(planning);
        let form = self.prepare(&plan.text).await?;
        self.planning = None;
        Ok(Some((form, plan)))
    }

    fn note_planning(
        &mut self,
        planned: Result<(), tokio_postgres::Error>,
        planning: Planning,
    ) -> Result<(), Error> {
        planned.map_err(|error| self.failed(error))?;
        self.planning = Some(planning);
        Ok(())
    }

    fn only(&mut self, row: Result<Option<Row>, tokio_postgres::Error>) -> Result<Row, Error> {
        let row = row.map_err(|error| self.fail(error, self.server.at(Phase::Read)))?;
        row.ok_or_else(|| self.server.lost("the answer has no row"))
    }
}

/// Sends the setting of how statements are planned, if there is one to be sent.
async fn planned(
    client: &Client,
    plan: Option<&(StatementHandle, sql::Statement<'static>)>,
) -> Result<(), tokio_postgres::Error> {
    let Some((form, plan)) = plan else { return Ok(()) };
    sent(client, form, plan).await.map(drop)
}

/// Returns whether the server does not know a prepared statement any more, or only of other columns.
fn is_stale(error: &Error) -> bool {
    error.sqlstate().is_some_and(|code| STALE.contains(&code.as_str()))
}

/// For how many reads of a shape that had many events they are not expected to have few.
const READS_OF_MANY: u32 = 100;

//! Plain SQL on the log's table, as a program without the store would use it.

use bytes::Bytes;
use futures_util::{SinkExt, TryStreamExt, pin_mut};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::checker::Entry;
use crate::event::NewEvent;
use crate::failure::Failure;

/// The name of an event table, with its schema.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    pub schema: &'static str,
    pub name: &'static str,
}

impl Table {
    /// Returns the name in SQL.
    pub fn sql(self) -> String {
        format!("{}.{}", self.schema, self.name)
    }
}

/// Connects to a server. The connection lives as long as the client.
pub async fn connect(url: &str) -> Result<Client, Failure> {
    let failed = Failure::sql("connect");
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.map_err(&failed)?;
    // The client's calls report errors of the connection.
    tokio::spawn(async move { drop(connection.await) });
    let isolation = "SET default_transaction_isolation TO 'read committed'";
    client.batch_execute(isolation).await.map_err(&failed)?;
    Ok(client)
}

/// Events as the parameters of a statement, one array for each column.
pub struct Columns {
    ids: Vec<Uuid>,
    event_types: Vec<String>,
    payloads: Vec<String>,
    metadata: Vec<String>,
}

impl Columns {
    /// Splits the events into columns.
    pub fn of(events: &[NewEvent]) -> Self {
        Self {
            ids: events.iter().map(|event| event.id).collect(),
            event_types: events.iter().map(|event| event.event_type.clone()).collect(),
            payloads: events.iter().map(|event| event.payload.to_string()).collect(),
            metadata: events
                .iter()
                .map(|event| serde_json::json!(event.stamp).to_string())
                .collect(),
        }
    }

    /// Returns the parameters for [`SOURCE`].
    pub fn params(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        vec![
            (&self.ids, Type::UUID_ARRAY),
            (&self.event_types, Type::TEXT_ARRAY),
            (&self.payloads, Type::TEXT_ARRAY),
            (&self.metadata, Type::TEXT_ARRAY),
        ]
    }
}

/// Inserts events. Returns the positions of the first and the last one.
pub async fn insert(
    client: &Client,
    table: Table,
    events: &[NewEvent],
) -> Result<(u64, u64), tokio_postgres::Error> {
    let text = format!(
        "INSERT INTO {} ({COLUMNS})
         SELECT {VALUES} FROM {SOURCE} ORDER BY ordinal
         RETURNING sequence_number",
        table.sql()
    );
    let numbers = query_numbers(client, &text, &Columns::of(events).params()).await?;
    Ok(first_and_last(&numbers))
}

/// Inserts events by `COPY`. Returns the positions of the first and the last one.
pub async fn copy(
    client: &Client,
    table: Table,
    events: &[NewEvent],
) -> Result<(u64, u64), tokio_postgres::Error> {
    let columns = Columns::of(events);
    let fields = columns.ids.iter().zip(&columns.event_types);
    let documents = columns.payloads.iter().zip(&columns.metadata);
    let rows = fields.zip(documents).map(|((id, event_type), (payload, metadata))| {
        format!("{id}\tnow\t{event_type}\t{payload}\t{metadata}\n").replace('\\', "\\\\")
    });
    let name = table.sql();
    let sink = client.copy_in(&format!("COPY {name} ({COLUMNS}) FROM STDIN")).await?;
    pin_mut!(sink);
    sink.send(Bytes::from(rows.collect::<String>())).await?;
    sink.finish().await?;

    // The lower bound avoids a scan of the whole log, since not every table has an index on event
    // ids.
    let text = format!(
        "SELECT sequence_number FROM {name}
         WHERE event_id = ANY ($1)
             AND sequence_number > currval(pg_get_serial_sequence($2, 'sequence_number')) - 1000
         ORDER BY sequence_number"
    );
    let params: [(&(dyn ToSql + Sync), Type); 2] =
        [(&columns.ids, Type::UUID_ARRAY), (&name, Type::TEXT)];
    Ok(first_and_last(&query_numbers(client, &text, &params).await?))
}

/// Runs a query and returns the numbers in its first column.
pub async fn query_numbers(
    client: &Client,
    text: &str,
    params: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Vec<u64>, tokio_postgres::Error> {
    let rows = client.query_typed(text, params).await?;
    rows.iter().map(|row| Ok(row.try_get::<_, i64>(0)?.cast_unsigned())).collect()
}

/// Returns the positions above the given one.
pub async fn positions_above(
    client: &Client,
    table: Table,
    last: u64,
) -> Result<Vec<u64>, tokio_postgres::Error> {
    let text = format!(
        "SELECT sequence_number FROM {} WHERE sequence_number > $1 ORDER BY sequence_number",
        table.sql()
    );
    query_numbers(client, &text, &[(&last.cast_signed(), Type::INT8)]).await
}

/// Returns the head, or zero if the log is empty.
pub async fn head(client: &Client, table: Table) -> Result<u64, tokio_postgres::Error> {
    let text = format!("SELECT coalesce(max(sequence_number), 0) FROM {}", table.sql());
    Ok(first_and_last(&query_numbers(client, &text, &[]).await?).0)
}

/// Reads the whole log in ascending order.
pub async fn read_log(client: &Client, table: Table) -> Result<Vec<Entry>, Failure> {
    let failed = Failure::sql("read the log");
    let text = format!(
        "SELECT sequence_number, event_id, event_type, payload::text, metadata::text
         FROM {} ORDER BY sequence_number",
        table.sql()
    );
    let no_params: [(&(dyn ToSql + Sync), Type); 0] = [];
    let rows = client.query_typed_raw(&text, no_params).await.map_err(&failed)?;
    pin_mut!(rows);
    let mut log = Vec::new();
    while let Some(row) = rows.try_next().await.map_err(&failed)? {
        let position = row.try_get::<_, i64>(0).map_err(&failed)?.cast_unsigned();
        let metadata: &str = row.try_get(4).map_err(&failed)?;
        log.push(Entry {
            position,
            id: row.try_get(1).map_err(&failed)?,
            event_type: row.try_get(2).map_err(&failed)?,
            payload: row.try_get(3).map_err(&failed)?,
            stamp: serde_json::from_str(metadata)
                .map_err(|source| Failure::Foreign { position, source })?,
        });
    }
    Ok(log)
}

/// Returns the first and the last number, or zeros if there is none.
pub fn first_and_last(numbers: &[u64]) -> (u64, u64) {
    numbers.first().zip(numbers.last()).map_or((0, 0), |(&first, &last)| (first, last))
}

/// The columns of an insert.
pub const COLUMNS: &str = "event_id, occurred_at, event_type, payload, metadata";

/// The values for these columns.
pub const VALUES: &str = "id, clock_timestamp(), event_type, payload::jsonb, metadata::jsonb";

/// The source of these values: the first four parameters of the statement.
pub const SOURCE: &str = "unnest($1, $2, $3, $4) WITH ORDINALITY
    AS event (id, event_type, payload, metadata, ordinal)";

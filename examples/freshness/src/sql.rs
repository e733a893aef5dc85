//! Plain SQL on the log, as a program without the store would use it.

use tokio_postgres::{Client, NoTls, Row};

use crate::entry::{Book, Entry, LENT};
use crate::failure::Failure;

/// Connects to a server. The connection lives as long as the client.
pub async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    // The client's calls report errors of the connection.
    tokio::spawn(async move { drop(connection.await) });
    // The audit of the primary is about the readers.
    client.batch_execute("SET log_statement = 'none'").await?;
    Ok(client)
}

/// Reads the events above a position, in ascending order.
pub async fn read_log(url: &str, after: u64) -> Result<Vec<Entry>, Failure> {
    let failed = Failure::sql("read the log");
    let client = connect(url).await.map_err(&failed)?;
    let text = format!("SELECT {COLUMNS} FROM events WHERE sequence_number > $1 ORDER BY 1");
    let rows = client.query(&text, &[&after.cast_signed()]).await.map_err(&failed)?;
    rows.iter().map(|row| entry(row).map_err(&failed)?.ok_or(Failure::Foreign)).collect()
}

/// Returns the last event of a book.
pub async fn last_of(client: &Client, book: Book) -> Result<Option<Entry>, tokio_postgres::Error> {
    let text = format!(
        "SELECT {COLUMNS} FROM events WHERE payload @> jsonb_build_object('BookID', $1::text)
         ORDER BY sequence_number DESC LIMIT 1"
    );
    let row = client.query_opt(&text, &[&book.to_string()]).await?;
    Ok(row.as_ref().map(entry).transpose()?.flatten())
}

/// Inserts the event of a book with this number.
pub async fn insert(
    client: &Client,
    book: Book,
    number: u32,
) -> Result<Entry, tokio_postgres::Error> {
    let text = format!(
        "INSERT INTO events (event_id, occurred_at, event_type, payload, metadata)
         VALUES (gen_random_uuid(), clock_timestamp(), '{LENT}',
             jsonb_build_object('BookID', $1::text, 'Number', $2::bigint), '{{}}')
         RETURNING sequence_number, event_id"
    );
    let row = client.query_one(&text, &[&book.to_string(), &i64::from(number)]).await?;
    let (position, id) = (row.try_get::<_, i64>(0)?.cast_unsigned(), row.try_get(1)?);
    Ok(Entry { position, id, book, number })
}

/// Returns the entry in a row, or `None` if another program appended it.
fn entry(row: &Row) -> Result<Option<Entry>, tokio_postgres::Error> {
    let (position, id) = (row.try_get::<_, i64>(0)?.cast_unsigned(), row.try_get(1)?);
    let (book, number): (Option<String>, Option<i64>) = (row.try_get(2)?, row.try_get(3)?);
    let book = book.and_then(|book| Book::try_from(book).ok());
    let number = number.and_then(|number| number.try_into().ok());
    Ok(book.zip(number).map(|(book, number)| Entry { position, id, book, number }))
}

const COLUMNS: &str = "sequence_number, event_id, payload->>'BookID', (payload->>'Number')::bigint";

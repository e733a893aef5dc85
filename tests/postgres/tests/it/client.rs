//! SQL helpers and polling.

use std::error::Error;
use std::time::{Duration, Instant};

use local_postgres::Server;
use tokio_postgres::{Client, NoTls};

/// Connects to a database of a server.
pub(crate) async fn connect(
    server: &Server,
    database: &str,
) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(&server.url(database), NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Counts the rows of the table `book`.
pub(crate) async fn books(server: &Server) -> Result<i64, tokio_postgres::Error> {
    let client = connect(server, "postgres").await?;
    Ok(client.query_one("SELECT count(*) FROM book", &[]).await?.get(0))
}

/// Creates the table `book`, if it is missing, and inserts a row.
pub(crate) async fn write_a_book(server: &Server) -> Result<(), tokio_postgres::Error> {
    let client = connect(server, "postgres").await?;
    let statement =
        "CREATE TABLE IF NOT EXISTS book (title text); INSERT INTO book VALUES ('Emma')";
    client.batch_execute(statement).await
}

/// Polls a condition until it holds, for at most 30 seconds.
pub(crate) fn wait_until(
    condition: &str,
    mut holds: impl FnMut() -> bool,
) -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    while !holds() {
        if started.elapsed() > Duration::from_secs(30) {
            return Err(format!("timed out waiting until {condition}").into());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

//! SQL sessions for controlling a server.

use std::time::Duration;

use tokio_postgres::types::{FromSqlOwned, ToSql};
use tokio_postgres::{Client, Config, NoTls};

use crate::{Error, Server};

/// A connection to a server as its superuser.
#[derive(Debug)]
pub(crate) struct Session {
    server: String,
    client: Client,
}

impl Session {
    /// Connects to the database `postgres`.
    pub(crate) async fn open(server: &Server) -> Result<Self, Error> {
        let action = "accept a connection";
        let mut config = Config::new();
        config
            .host(server.host())
            .port(server.port())
            .user("postgres")
            .dbname("postgres")
            .application_name("local-postgres");
        // The connect timeout of `tokio_postgres` covers only the TCP handshake, which a stopped
        // server completes.
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, config.connect(NoTls)).await;
        let (client, connection) = connected
            .map_err(|_| server.timed_out(action, CONNECT_TIMEOUT))?
            .map_err(|source| Error::Sql { server: server.name().to_owned(), action, source })?;
        tokio::spawn(connection);
        Ok(Self { server: server.name().to_owned(), client })
    }

    /// Runs a statement. Errors name the `action`.
    pub(crate) async fn execute(&self, action: &'static str, statement: &str) -> Result<(), Error> {
        self.client.batch_execute(statement).await.map_err(|source| self.error(action, source))
    }

    /// Runs a query of one row and one column and returns its value. Errors name the `action`.
    pub(crate) async fn query_value<T: FromSqlOwned>(
        &self,
        action: &'static str,
        query: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<T, Error> {
        let row = self.client.query_one(query, parameters).await;
        row.and_then(|row| row.try_get(0)).map_err(|source| self.error(action, source))
    }

    fn error(&self, action: &'static str, source: tokio_postgres::Error) -> Error {
        Error::Sql { server: self.server.clone(), action, source }
    }
}

/// Quotes a name as an SQL identifier.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

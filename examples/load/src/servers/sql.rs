use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::{Client, Config, NoTls};

use super::ServerName;

/// The address of a server, for plain SQL.
#[derive(Clone, Debug)]
pub struct SqlAddress {
    name: ServerName,
    url: String,
}

impl SqlAddress {
    pub(super) fn new(name: ServerName, url: String) -> Self {
        Self { name, url }
    }

    /// Returns the name that the server has at first.
    pub fn name(&self) -> ServerName {
        self.name
    }

    /// Connects without TLS. The connection lives as long as the client.
    ///
    /// # Errors
    ///
    /// [`SqlFailure`].
    ///
    /// # Cancel safety
    ///
    /// Can be dropped at any time.
    pub async fn connect(
        &self,
        application: &str,
        longest: Duration,
    ) -> Result<Client, SqlFailure> {
        let mut config: Config = self.url.parse().map_err(SqlFailure::Sql)?;
        config.application_name(application);
        if config.get_hosts().len() > 1 && self.name == ServerName::Primary {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        // The connect timeout of `tokio_postgres` covers only the TCP handshake, which a frozen
        // server completes.
        let connected = timeout(longest, config.connect(NoTls)).await;
        let connected = connected.map_err(|_| SqlFailure::TimedOut(longest))?;
        let (client, connection) = connected.map_err(SqlFailure::Sql)?;
        // The client's calls report errors of the connection.
        tokio::spawn(connection);
        Ok(client)
    }
}

/// A connection or a statement that failed.
#[derive(Debug, thiserror::Error)]
pub enum SqlFailure {
    /// The server, the connection or the address was at fault.
    #[error(transparent)]
    Sql(tokio_postgres::Error),
    /// The server did not answer in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
}

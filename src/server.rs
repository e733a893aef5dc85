use std::fmt;
use std::sync::Arc;

use tokio_postgres::config::Host;

use crate::error::{BoxError, cause};
use crate::log::LogName;
use crate::{Class, Error, Role, SqlState};

/// A server as a store knows it.
pub(crate) struct Server {
    /// Its name among the store's servers: `primary`, `replica-0`, …
    pub(crate) name: Arc<str>,
    pub(crate) role: Role,
    pub(crate) host: Arc<str>,
    pub(crate) port: u16,
    /// Database and schema, as OpenTelemetry's conventions for PostgreSQL join them.
    pub(crate) namespace: Arc<str>,
    /// The log's table.
    pub(crate) collection: Arc<str>,
    log: LogName,
}

impl Server {
    pub(crate) fn new(
        role: Role,
        index: usize,
        server: &tokio_postgres::Config,
        log: &LogName,
    ) -> Self {
        let name = match role {
            Role::Primary => "primary".into(),
            Role::Replica => format!("replica-{index}").into(),
        };
        let (host, port) = address(server);
        let database = server.get_dbname().or(server.get_user()).unwrap_or_default();
        Self {
            name,
            role,
            host: host.into(),
            port,
            namespace: format!("{database}|{}", log.schema()).into(),
            collection: log.log().into(),
            log: log.clone(),
        }
    }

    /// Says what a failure of the client means, of a request that changes nothing or of one that
    /// is known not to have been carried out.
    pub(crate) fn error(&self, error: tokio_postgres::Error) -> Error {
        let server = self.to_string();
        match error.code().map(|code| code.code()) {
            Some("42P01" | "3F000") => Error::SchemaMissing { server, log: self.log.to_string() },
            Some(code) => {
                let class = Class::Transient;
                Error::Database {
                    server,
                    sqlstate: SqlState::new(code),
                    class,
                    source: cause(error),
                }
            }
            None => Error::ConnectionLost { server, source: cause(error) },
        }
    }

    pub(crate) fn lost(&self, source: impl Into<BoxError>) -> Error {
        Error::ConnectionLost { server: self.to_string(), source: cause(source) }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}:{}", self.name, self.host, self.port)
    }
}

/// Names the first address of a server.
fn address(server: &tokio_postgres::Config) -> (String, u16) {
    let host = match server.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        #[cfg(unix)]
        Some(Host::Unix(directory)) => directory.display().to_string(),
        None => server.get_hostaddrs().first().map_or(String::new(), ToString::to_string),
    };
    (host, server.get_ports().first().copied().unwrap_or(5432))
}

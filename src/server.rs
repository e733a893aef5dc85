use std::fmt;
use std::sync::Arc;

use tokio_postgres::error::Severity;

use crate::address::{Address, Endpoint};
use crate::error::{BoxError, MIGRATE, cause, unreachable_because};
use crate::error::{Circumstances, ConnectionFailure, Failure, Phase, SqlState};
use crate::log_name::{LogName, SEQUENCE_BEHIND, UNVERSIONED};
use crate::{Class, Error, Role, SequenceNumber};

/// A server of a store, with the names that errors and telemetry use.
pub(crate) struct Server {
    /// The server's name within the store: `primary`, `replica-0`, …
    pub(crate) name: Arc<str>,
    pub(crate) role: Role,
    pub(crate) host: Arc<str>,
    pub(crate) port: u16,
    /// The database and the schema, joined as in OpenTelemetry's conventions for PostgreSQL.
    pub(crate) namespace: Arc<str>,
    /// The log's table.
    pub(crate) collection: Arc<str>,
    log: LogName,
}

impl Server {
    pub(crate) fn new(
        role: Role,
        name: impl Into<Arc<str>>,
        address: &Address,
        log: &LogName,
    ) -> Self {
        let database = address.driver.get_dbname().or(address.driver.get_user());
        let database = database.unwrap_or_default();
        let (host, port) = match address.endpoints.first() {
            Some(first) => (first.host(), first.port),
            None => (String::new(), 0),
        };
        Self {
            name: name.into(),
            role,
            host: host.into(),
            port,
            namespace: format!("{database}|{}", log.schema()).into(),
            collection: log.log().into(),
            log: log.clone(),
        }
    }

    /// Returns the same server with one host of its address.
    pub(crate) fn at_endpoint(&self, endpoint: &Endpoint) -> Self {
        Self {
            name: self.name.clone(),
            role: self.role,
            host: endpoint.host().into(),
            port: endpoint.port,
            namespace: self.namespace.clone(),
            collection: self.collection.clone(),
            log: self.log.clone(),
        }
    }

    /// Returns the name of the log.
    pub(crate) fn log(&self) -> &LogName {
        &self.log
    }

    /// Returns the circumstances of a failure of this server in a phase.
    pub(crate) fn at(&self, phase: Phase) -> Circumstances {
        Circumstances::new(phase, self.role)
    }

    /// Converts an error of the driver. If the outcome is unknown, the caller adds the ids of the
    /// events.
    pub(crate) fn error(
        &self,
        error: tokio_postgres::Error,
        circumstances: Circumstances,
    ) -> Error {
        let server = self.to_string();
        let failure = match error.code() {
            Some(code) => Failure::Sqlstate(code.code()),
            None => Failure::Connection(ConnectionFailure::of(&error)),
        };
        let class = Class::of(failure, circumstances.ended(ends_connection(&error)));
        match failure {
            _ if class == Class::OutcomeUnknown => {
                Error::OutcomeUnknown { server, event_ids: Vec::new(), source: cause(error) }
            }
            Failure::Sqlstate("42P01" | "3F000") => {
                Error::SchemaMissing { server, log: self.log.to_string() }
            }
            Failure::Sqlstate(SEQUENCE_BEHIND) => {
                self.damaged("the next position of its sequence is not above its head")
            }
            Failure::Sqlstate(UNVERSIONED) => self.unversioned(),
            Failure::Sqlstate("23505") if self.repeats_a_position(&error) => {
                self.damaged("its sequence is behind its head")
            }
            // The store does not give a position.
            Failure::Sqlstate("428C9") if circumstances.phase() == Phase::Append => {
                self.damaged("its sequence has a cache, so that positions do not ascend")
            }
            Failure::Sqlstate(code) => {
                let sqlstate = SqlState::new(code);
                Error::Database { server, sqlstate, class, source: cause(error) }
            }
            Failure::Connection(ConnectionFailure::ReadOnly) => self.accepts_no_writes(),
            Failure::Connection(_) if circumstances.phase() == Phase::Connect => {
                let reason = unreachable_because(&error, self.port);
                Error::Unreachable { server, reason, class, source: cause(error) }
            }
            Failure::Connection(ConnectionFailure::Denied) => {
                let reason = format!("its answer is not of the expected type: {error}");
                Error::UnsuitableServer { server, reason: reason.into(), class }
            }
            Failure::Connection(_) => Error::ConnectionLost { server, source: cause(error) },
        }
    }

    /// Returns whether a row was refused because another event has its position.
    fn repeats_a_position(&self, error: &tokio_postgres::Error) -> bool {
        let constraint = error.as_db_error().and_then(|error| error.constraint());
        constraint.is_some_and(|name| name == format!("{}_pkey", self.log.log()))
    }

    /// Returns the error of a log that has no row in `eddyline_schema`.
    pub(crate) fn unversioned(&self) -> Error {
        self.damaged("table eddyline_schema has no row for it")
    }

    fn damaged(&self, reason: &str) -> Error {
        Error::SchemaDamaged {
            server: self.to_string(),
            log: self.log.to_string(),
            reason: reason.to_owned(),
            remedy: MIGRATE,
        }
    }

    pub(crate) fn accepts_no_writes(&self) -> Error {
        Error::UnsuitableServer {
            server: self.to_string(),
            reason: "it accepts no writes: it is a replica, or set to read-only".into(),
            class: Class::Transient,
        }
    }

    /// Makes the error of a primary that stayed on its timeline when another one was promoted.
    pub(crate) fn superseded(&self, timeline: u32, newest: u32) -> Error {
        let reason = format!(
            "it is a former primary: its timeline is {timeline}, and that of the promoted one is \
             {newest}"
        );
        let server = self.to_string();
        Error::UnsuitableServer { server, reason: reason.into(), class: Class::Transient }
    }

    /// Returns the error of a position whose event the log has lost.
    pub(crate) fn position_lost(
        &self,
        position: SequenceNumber,
        ended: Option<SequenceNumber>,
    ) -> Error {
        Error::PositionLost { server: self.to_string(), position, ended }
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

/// Returns whether the error ends the connection. An error without a severity, as some poolers send
/// it, may end the connection.
pub(crate) fn ends_connection(error: &tokio_postgres::Error) -> bool {
    let severity = error.as_db_error().map(|error| error.parsed_severity());
    severity != Some(Some(Severity::Error))
}

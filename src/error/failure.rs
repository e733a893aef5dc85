use std::borrow::Cow;
use std::error::Error as _;
use std::io;

use rustls::{AlertDescription, Error as TlsError};

/// A failure as the PostgreSQL driver reports it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failure<'a> {
    /// The connection failed without an error message from the server.
    Connection(ConnectionFailure),
    /// The server sent an error with this SQLSTATE.
    Sqlstate(&'a str),
}

/// A way in which a connection fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ConnectionFailure {
    /// It ended.
    Broken,
    /// Client and server disagree about encryption, identity, or the type of a value.
    Denied,
    /// A message could not be parsed.
    Garbled,
    /// The connection needs a server that accepts writes, and none was found.
    ReadOnly,
    /// A time limit expired.
    TimedOut,
    /// It could not be made.
    Unreachable,
}

impl ConnectionFailure {
    /// Derives the failure from an error of the driver that has no SQLSTATE.
    ///
    /// The kind of such an error is private. `is_closed` returns whether the connection is closed.
    /// An error without a source is an unexpected message; an error whose source is not an I/O
    /// error comes from a handshake or from a conversion.
    pub(crate) fn of(error: &tokio_postgres::Error) -> Self {
        if error.is_closed() {
            return Self::Broken;
        }
        match error.source().map(|source| source.downcast_ref()) {
            None => Self::Garbled,
            Some(Some(error)) => Self::of_io(error),
            Some(None) => Self::Denied,
        }
    }

    fn of_io(error: &io::Error) -> Self {
        if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
            return Self::of_tls(error);
        }
        match error.kind() {
            // With an OS error code, the process may not open the socket. Without one, the driver
            // found that the session is read-only.
            io::ErrorKind::PermissionDenied if error.raw_os_error().is_some() => Self::Denied,
            io::ErrorKind::PermissionDenied => Self::ReadOnly,
            io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => Self::Garbled,
            io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::NotConnected
            // The last message was incomplete.
            | io::ErrorKind::Other
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::WriteZero => Self::Broken,
            // Failures of name resolution, which have no kind of their own, are among these.
            _ => Self::Unreachable,
        }
    }

    fn of_tls(error: &TlsError) -> Self {
        match error {
            TlsError::AlertReceived(
                AlertDescription::BadRecordMac
                | AlertDescription::DecodeError
                | AlertDescription::DecryptError
                | AlertDescription::UnexpectedMessage,
            )
            | TlsError::DecryptError
            | TlsError::InappropriateHandshakeMessage { .. }
            | TlsError::InappropriateMessage { .. }
            | TlsError::InvalidMessage(_) => Self::Garbled,
            _ => Self::Denied,
        }
    }
}

/// Describes why a connection could not be made, and what to check.
pub(crate) fn unreachable_because(error: &tokio_postgres::Error, port: u16) -> Cow<'static, str> {
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match (ConnectionFailure::of(error), io.map(io::Error::kind)) {
        (_, Some(io::ErrorKind::ConnectionRefused)) => {
            format!("nothing listens on port {port}: check the port, and whether the server runs")
                .into()
        }
        (_, Some(io::ErrorKind::NotFound)) => {
            format!("the directory has no socket for port {port}").into()
        }
        (ConnectionFailure::Broken, _) => format!(
            "the connection was closed during the handshake: check that port {port} belongs to a \
             PostgreSQL server"
        )
        .into(),
        (ConnectionFailure::Denied, _) => {
            "client and server cannot agree on encryption or authentication".into()
        }
        (ConnectionFailure::Garbled, _) => {
            format!("what answers on port {port} is not a PostgreSQL server: check the port").into()
        }
        (ConnectionFailure::TimedOut, _) => "it did not answer in time".into(),
        (ConnectionFailure::ReadOnly | ConnectionFailure::Unreachable, _) => {
            "no route to it: check the host and the network".into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinguishes_a_forbidden_socket_from_a_read_only_server() {
        let system = io::Error::from_raw_os_error(13);
        let driver = io::Error::new(io::ErrorKind::PermissionDenied, "no writes");

        assert_eq!(ConnectionFailure::of_io(&system), ConnectionFailure::Denied);
        assert_eq!(ConnectionFailure::of_io(&driver), ConnectionFailure::ReadOnly);
    }

    #[test]
    fn distinguishes_a_rejected_certificate_from_a_damaged_handshake() {
        let of = |error: TlsError| {
            ConnectionFailure::of_io(&io::Error::new(io::ErrorKind::InvalidData, error))
        };

        let certificate = of(TlsError::InvalidCertificate(rustls::CertificateError::Expired));
        let refused = of(TlsError::AlertReceived(AlertDescription::HandshakeFailure));
        let damaged = of(TlsError::AlertReceived(AlertDescription::BadRecordMac));

        assert_eq!([certificate, refused], [ConnectionFailure::Denied; 2]);
        assert_eq!([damaged, of(TlsError::DecryptError)], [ConnectionFailure::Garbled; 2]);
    }
}

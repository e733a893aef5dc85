use std::borrow::Cow;
use std::error::Error as _;
use std::io;

use rustls::{AlertDescription, Error as TlsError};

/// Says what a request met instead of an answer.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Failure<'a> {
    /// The connection failed, and the server said nothing of it.
    Connection(ConnectionFailure),
    /// The server named its reason: the five characters of SQLSTATE.
    Sqlstate(&'a str),
}

/// Says how a connection failed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ConnectionFailure {
    /// It was there and ended.
    Broken,
    /// Client and server cannot agree: on encryption, on who is who, or on the type of a value.
    Denied,
    /// What came cannot be understood.
    Garbled,
    /// A server that takes writes was asked for, and there is none.
    ReadOnly,
    /// A limit of time passed.
    TimedOut,
    /// It could not be made.
    Unreachable,
}

impl ConnectionFailure {
    /// Tells how the driver failed where the server gave no reason.
    ///
    /// The driver keeps the kind of its errors to itself. An error of a closed connection can be
    /// asked for; one without a source is an answer out of turn; one whose source is not of I/O
    /// comes from a handshake or from a conversion.
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
            // Of the operating system's own making, a socket may not be opened. The driver makes
            // one where a session turns out to be read-only.
            io::ErrorKind::PermissionDenied if error.raw_os_error().is_some() => Self::Denied,
            io::ErrorKind::PermissionDenied => Self::ReadOnly,
            io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => Self::Garbled,
            io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::NotConnected
            // The last message was cut short.
            | io::ErrorKind::Other
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::WriteZero => Self::Broken,
            // Also whatever the resolver of names says, which has no kind of its own.
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

/// Says what is in the way of a connection, and what to look at.
pub(crate) fn unreachable_because(error: &tokio_postgres::Error, port: u16) -> Cow<'static, str> {
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match (ConnectionFailure::of(error), io.map(io::Error::kind)) {
        (_, Some(io::ErrorKind::ConnectionRefused)) => format!(
            "nothing listens on port {port} there: check the port, and whether the server runs"
        )
        .into(),
        (_, Some(io::ErrorKind::NotFound)) => {
            format!("the directory has no socket of a server on port {port}").into()
        }
        (ConnectionFailure::Broken, _) => format!(
            "the connection was closed while it was made: check that port {port} is that of a \
             PostgreSQL server"
        )
        .into(),
        (ConnectionFailure::Denied, _) => {
            "client and server cannot agree on the encryption or the login".into()
        }
        (ConnectionFailure::Garbled, _) => {
            format!("what answers on port {port} is no PostgreSQL server: check the port").into()
        }
        (ConnectionFailure::TimedOut, _) => "it did not answer in time".into(),
        (ConnectionFailure::ReadOnly | ConnectionFailure::Unreachable, _) => {
            "there is no way to it: check the host and the network".into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_may_not_be_opened_is_not_a_server_that_takes_no_writes() {
        let system = io::Error::from_raw_os_error(13);
        let driver = io::Error::new(io::ErrorKind::PermissionDenied, "no writes");

        assert_eq!(ConnectionFailure::of_io(&system), ConnectionFailure::Denied);
        assert_eq!(ConnectionFailure::of_io(&driver), ConnectionFailure::ReadOnly);
    }

    #[test]
    fn a_certificate_is_denied_and_a_damaged_handshake_is_not() {
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

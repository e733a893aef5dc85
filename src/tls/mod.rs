//! Encryption of connections, through rustls.

mod key;
mod unchecked;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

use self::unchecked::Unchecked;
use crate::address::Endpoint;
use crate::{Error, Tls};

/// Makes the connector for a setting; without one, the address says whether it is used.
pub(crate) fn connector(tls: Option<&Tls>) -> Result<Connector, Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|fault| Error::invalid_config("tls", fault.to_string()))?;
    let mut config = match tls {
        Some(Tls::Verify { ca_file }) => builder.with_root_certificates(authorities(ca_file)?),
        _ => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unchecked::new(provider)))
        }
    }
    .with_no_client_auth();
    // A server that is spoken to in TLS from the first byte demands it; others ignore it.
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(Connector(MakeRustlsConnect::new(config)))
}

/// Sets on a server's address what the setting says, if anything.
pub(crate) fn apply(tls: Option<&Tls>, server: &mut tokio_postgres::Config) {
    match tls {
        None => {}
        Some(Tls::Disable) => {
            server.ssl_mode(SslMode::Disable);
        }
        Some(Tls::Prefer) => {
            server.ssl_mode(SslMode::Prefer);
        }
        Some(Tls::Require | Tls::Verify { .. }) => {
            server.ssl_mode(SslMode::Require);
        }
    }
}

/// Refuses a demand that no connection to a host can meet.
pub(crate) fn check(
    tls: Option<&Tls>,
    driver: &tokio_postgres::Config,
    endpoint: &Endpoint,
) -> Result<(), Error> {
    if matches!(tls, Some(Tls::Verify { .. })) && endpoint.is_directory() {
        return Err(Error::invalid_config(
            "url",
            "Tls::Verify checks the certificate for the host, and host is the directory of a \
             socket: set host to the name that the certificate is for, or leave it out if the \
             certificate names the address in hostaddr",
        ));
    }
    let is_direct = driver.get_ssl_negotiation() == SslNegotiation::Direct;
    match driver.get_ssl_mode() {
        SslMode::Require | SslMode::Disable => Ok(()),
        _ if is_direct => Err(Error::invalid_config(
            "url",
            "sslnegotiation=direct needs encryption that is required: add sslmode=require, or set \
             Config::tls to Tls::Require or Tls::Verify",
        )),
        _ => Ok(()),
    }
}

fn authorities(ca_file: &Path) -> Result<RootCertStore, Error> {
    let invalid = |reason: String| {
        Error::invalid_config("tls", format!("CA file {}: {reason}", ca_file.display()))
    };
    let mut roots = RootCertStore::empty();
    let certificates =
        CertificateDer::pem_file_iter(ca_file).map_err(|fault| invalid(fault.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|fault| invalid(fault.to_string()))?;
        roots.add(certificate).map_err(|fault| invalid(fault.to_string()))?;
    }
    if roots.is_empty() {
        return Err(invalid("holds no certificate".to_owned()));
    }
    Ok(roots)
}

/// Makes encrypted connections.
#[derive(Clone)]
pub(crate) struct Connector(MakeRustlsConnect);

impl Connector {
    /// Returns a connector for one connection, and what tells whether it was encrypted.
    pub(crate) fn watched(&self) -> (Watched<MakeRustlsConnect>, IsEncrypted) {
        let is_encrypted = IsEncrypted::default();
        (Watched { inner: self.0.clone(), is_encrypted: is_encrypted.clone() }, is_encrypted)
    }
}

/// Whether a handshake of TLS was begun.
#[derive(Clone, Default)]
pub(crate) struct IsEncrypted(Arc<AtomicBool>);

impl IsEncrypted {
    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A connector that notes that its handshake was begun.
#[derive(Clone)]
pub(crate) struct Watched<T> {
    inner: T,
    is_encrypted: IsEncrypted,
}

impl<S, T: MakeTlsConnect<S>> MakeTlsConnect<S> for Watched<T> {
    type Stream = T::Stream;
    type TlsConnect = Watched<T::TlsConnect>;
    type Error = T::Error;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Self::TlsConnect, Self::Error> {
        let inner = self.inner.make_tls_connect(domain)?;
        Ok(Watched { inner, is_encrypted: self.is_encrypted.clone() })
    }
}

impl<S, T: TlsConnect<S>> TlsConnect<S> for Watched<T> {
    type Stream = T::Stream;
    type Error = T::Error;
    type Future = T::Future;

    fn connect(self, stream: S) -> Self::Future {
        self.is_encrypted.0.store(true, Ordering::Relaxed);
        self.inner.connect(stream)
    }
}

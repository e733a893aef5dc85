use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::ClientConfig;
#[cfg(feature = "aws-lc-rs")]
use rustls::crypto::aws_lc_rs as cryptography;
#[cfg(not(feature = "aws-lc-rs"))]
use rustls::crypto::ring as cryptography;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::certificates::{Trust, read_client_certificate};
use super::key_only_verifier::KeyOnlyVerifier;
use crate::address::Address;
use crate::{Config, Error};

/// A connector for encrypted connections to the hosts of one address.
#[derive(Clone)]
pub(crate) struct Connector(MakeRustlsConnect);

impl Connector {
    /// Creates the connector, and reads the files of certificates and keys.
    pub(crate) fn new(config: &Config, address: &Address) -> Result<Self, Error> {
        let provider = Arc::new(cryptography::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::invalid_config("tls", error.to_string()))?;
        let builder = match Trust::of(config, address).roots()? {
            Some(roots) => builder.with_root_certificates(roots),
            None => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(KeyOnlyVerifier::new(provider))),
        };
        let mut client = match config.client_certificate_for(address) {
            None => builder.with_no_client_auth(),
            Some(certificate) => {
                let (chain, key) = read_client_certificate(certificate)?;
                let client = builder.with_client_auth_cert(chain, key);
                client.map_err(|error| certificate.unusable(&error))?
            }
        };
        // Servers require it if TLS begins without negotiation (sslnegotiation=direct); otherwise
        // they ignore it.
        client.alpn_protocols = vec![b"postgresql".to_vec()];
        Ok(Self(MakeRustlsConnect::new(client)))
    }

    /// Returns a connector for one connection, with a flag that shows whether a handshake was
    /// started.
    pub(crate) fn tracked(&self) -> (TrackedConnector<MakeRustlsConnect>, HandshakeStarted) {
        let started = HandshakeStarted::default();
        (TrackedConnector { inner: self.0.clone(), started: started.clone() }, started)
    }
}

/// A flag that shows whether a TLS handshake was started.
#[derive(Clone, Default)]
pub(crate) struct HandshakeStarted(Arc<AtomicBool>);

impl HandshakeStarted {
    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A connector that sets a flag when it starts its handshake.
#[derive(Clone)]
pub(crate) struct TrackedConnector<T> {
    inner: T,
    started: HandshakeStarted,
}

impl<S, T: MakeTlsConnect<S>> MakeTlsConnect<S> for TrackedConnector<T> {
    type Stream = T::Stream;
    type TlsConnect = TrackedConnector<T::TlsConnect>;
    type Error = T::Error;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Self::TlsConnect, Self::Error> {
        let inner = self.inner.make_tls_connect(domain)?;
        Ok(TrackedConnector { inner, started: self.started.clone() })
    }
}

impl<S, T: TlsConnect<S>> TlsConnect<S> for TrackedConnector<T> {
    type Stream = T::Stream;
    type Error = T::Error;
    type Future = T::Future;

    fn connect(self, stream: S) -> Self::Future {
        self.started.0.store(true, Ordering::Relaxed);
        self.inner.connect(stream)
    }
}

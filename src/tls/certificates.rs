use std::fmt;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::address::{Address, ClientCertificate, RootCertificates};
use crate::{Config, Error, Tls};

/// The servers that a store trusts, by [`Config::tls`] or else by the address.
pub(super) enum Trust<'a> {
    /// Any server: its identity is not verified.
    Any,
    /// Servers with a certificate that an authority of the PEM file signed.
    File { setting: &'static str, ca_file: &'a Path },
    /// Servers with a certificate that an authority trusted by the operating system signed.
    System { setting: &'static str },
}

impl<'a> Trust<'a> {
    pub(super) fn of(config: &'a Config, address: &'a Address) -> Self {
        match (&config.tls, &address.root_certificates) {
            (Some(Tls::Verify { ca_file }), _) => Self::File { setting: "tls", ca_file },
            (Some(Tls::VerifySystem), _) => Self::System { setting: "tls" },
            (Some(Tls::Disable | Tls::Prefer | Tls::Require), _) | (None, None) => Self::Any,
            (None, Some(RootCertificates::File(ca_file))) => Self::File { setting: "url", ca_file },
            (None, Some(RootCertificates::System)) => Self::System { setting: "url" },
        }
    }

    pub(super) fn is_verified(&self) -> bool {
        match self {
            Self::Any => false,
            Self::File { .. } | Self::System { .. } => true,
        }
    }

    /// Reads the trusted certificates. Returns `None` if any server is trusted.
    pub(super) fn roots(&self) -> Result<Option<RootCertStore>, Error> {
        match self {
            Self::Any => Ok(None),
            Self::File { setting, ca_file } => read_roots(setting, ca_file).map(Some),
            Self::System { setting } => system_roots(setting).map(Some),
        }
    }
}

fn read_roots(setting: &'static str, ca_file: &Path) -> Result<RootCertStore, Error> {
    let invalid = |reason: String| {
        let file = ca_file.display();
        let reason = format!("CA file {file}: {reason}: name a PEM file with CA certificates");
        Error::invalid_config(setting, reason)
    };
    let mut roots = RootCertStore::empty();
    for certificate in read_chain(ca_file).map_err(invalid)? {
        roots.add(certificate).map_err(|error| invalid(error.to_string()))?;
    }
    Ok(roots)
}

fn system_roots(setting: &'static str) -> Result<RootCertStore, Error> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Systems have some certificates that rustls does not accept. They are left out.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let errors: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
        let errors =
            if errors.is_empty() { String::new() } else { format!(" ({})", errors.join("; ")) };
        return Err(Error::invalid_config(
            setting,
            format!(
                "the system has no trusted root certificates{errors}: install them (on Linux, the \
                 package ca-certificates), name their file in the variable SSL_CERT_FILE, or set \
                 Config::tls(Tls::Verify {{ ca_file }})"
            ),
        ));
    }
    Ok(roots)
}

/// Reads the certificate chain and the private key of a client.
pub(super) fn read_client_certificate(
    certificate: &ClientCertificate,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
    let ClientCertificate { cert_file, key_file, setting } = certificate;
    let chain = read_chain(cert_file).map_err(|reason| {
        let file = cert_file.display();
        let reason = format!(
            "certificate file {file}: {reason}: name a PEM file with the client's certificate, \
             followed by its intermediate certificates"
        );
        Error::invalid_config(setting, reason)
    })?;
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|error| {
        let file = key_file.display();
        let reason = match error {
            pem::Error::NoItemsFound => "contains no private key in plain text".to_owned(),
            error => error.to_string(),
        };
        let reason = format!(
            "key file {file}: {reason}: name a PEM file with a private key that is not encrypted"
        );
        Error::invalid_config(setting, reason)
    })?;
    Ok((chain, key))
}

fn read_chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain = CertificateDer::pem_file_iter(file).map_err(|error| error.to_string())?;
    let chain: Vec<_> = chain.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    match chain.is_empty() {
        true => Err("contains no certificate".to_owned()),
        false => Ok(chain),
    }
}

impl ClientCertificate {
    /// Returns the error for files that can be read, but not used together.
    pub(super) fn unusable(&self, error: &dyn fmt::Display) -> Error {
        let (cert_file, key_file) = (self.cert_file.display(), self.key_file.display());
        let reason = format!(
            "certificate file {cert_file} and key file {key_file}: {error}: name a certificate and \
             its own private key"
        );
        Error::invalid_config(self.setting, reason)
    }
}

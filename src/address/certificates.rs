use std::path::PathBuf;

use super::Reason;

/// The certificates of the authorities that are trusted to sign the server's certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum RootCertificates {
    /// The certificates of a PEM file.
    File(PathBuf),
    /// The certificates that the operating system trusts.
    System,
}

/// The certificate by which a store identifies itself to a server, and its private key: PEM files.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ClientCertificate {
    pub(crate) cert_file: PathBuf,
    pub(crate) key_file: PathBuf,
    /// The setting that an error about the files names.
    pub(crate) setting: &'static str,
}

/// The parameters of an address about certificates.
#[derive(Default)]
pub(super) struct CertificateParameters {
    pub(super) sslmode: Option<RequestedMode>,
    pub(super) sslrootcert: Option<String>,
    pub(super) sslcert: Option<String>,
    pub(super) sslkey: Option<String>,
    /// Whether the client certificate is not sent, because of `sslcertmode=disable`.
    pub(super) is_cert_disabled: bool,
}

/// The verification that an `sslmode` requests, which the modes of the driver do not express.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum RequestedMode {
    /// `verify-full`.
    Verified,
    /// `disable`, `prefer` or `require`.
    Unverified,
}

impl CertificateParameters {
    /// Returns the trusted certificates. As for libpq, `sslrootcert=system` implies
    /// `sslmode=verify-full`, and contradicts a weaker mode.
    ///
    /// Other files than `system` need `sslmode=verify-full`. With weaker modes, libpq would check
    /// the authority but not the host's name, which the store does not offer.
    pub(super) fn root_certificates(&self) -> Result<Option<RootCertificates>, Reason> {
        match (self.sslmode, self.sslrootcert.as_deref()) {
            (Some(RequestedMode::Verified) | None, Some("system")) => {
                Ok(Some(RootCertificates::System))
            }
            (Some(RequestedMode::Verified), Some(file)) => {
                Ok(Some(RootCertificates::File(file.into())))
            }
            (Some(RequestedMode::Verified), None) => Err(NO_ROOT.into()),
            (_, Some(_)) => Err(WEAK_MODE.into()),
            (_, None) => Ok(None),
        }
    }

    /// Returns the client's certificate.
    pub(super) fn client_certificate(&self) -> Result<Option<ClientCertificate>, Reason> {
        match (&self.sslcert, &self.sslkey) {
            (Some(_), None) => Err(NO_KEY.into()),
            (None, Some(_)) => Err(NO_CERTIFICATE.into()),
            (Some(cert), Some(key)) if !self.is_cert_disabled => Ok(Some(ClientCertificate {
                cert_file: cert.into(),
                key_file: key.into(),
                setting: "url",
            })),
            _ => Ok(None),
        }
    }
}

const NO_ROOT: &str = "sslmode=verify-full needs sslrootcert: set it to a PEM file with the \
    trusted CA certificates, or to system; or leave out sslmode and set \
    Config::tls(Tls::Verify { ca_file })";
const WEAK_MODE: &str = "sslrootcert needs sslmode=verify-full: add it; or leave out sslrootcert and \
    set Config::tls(Tls::Verify { ca_file })";
const NO_KEY: &str =
    "sslcert needs sslkey: set it to the PEM file with the certificate's private key";
const NO_CERTIFICATE: &str =
    "sslkey needs sslcert: set it to the PEM file with the client's certificate chain";

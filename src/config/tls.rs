use std::path::PathBuf;

/// The encryption of connections, and the verification of the server's identity.
///
/// Connections by a Unix-domain socket of the same machine are never encrypted, with every variant.
/// If the server's identity is not verified, every certificate with an RSA key, an ECDSA key on
/// P-256 or P-384 (with the feature `aws-lc-rs` also P-521), or an Ed25519 key is accepted.
///
/// A store reads certificate files when it connects. To use changed files, connect a new store.
///
/// ```
/// use eddyline::{Config, Tls};
///
/// let config = Config::new("postgres://primary.example/library")?
///     .tls(Tls::Verify { ca_file: "ca.pem".into() });
/// # Ok::<(), eddyline::Error>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Tls {
    /// No encryption.
    Disable,
    /// Encryption if the server offers it, without verification of the server's identity.
    ///
    /// If the handshake fails, or the server rejects the role on encrypted connections, the store
    /// connects without encryption.
    Prefer,
    /// Required encryption, without verification of the server's identity.
    Require,
    /// Required encryption, and a certificate for the server's host name that an authority of the
    /// file signed.
    ///
    /// If the address names only `hostaddr`, the certificate must be for that IP address. A
    /// `hostaddr` with the directory of a socket as its `host` is refused.
    Verify {
        /// A PEM file with the certificates of the trusted authorities.
        ca_file: PathBuf,
    },
    /// Required encryption, and a certificate for the server's host name that an authority trusted
    /// by the operating system signed.
    ///
    /// On Linux, the variables `SSL_CERT_FILE` and `SSL_CERT_DIR` replace the system's
    /// certificates. Suitable for servers whose certificate comes from a public authority, as with
    /// many hosted databases. For an authority of your own, use [`Verify`](Self::Verify).
    VerifySystem,
}

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};

use super::public_key::PublicKey;

/// A certificate verifier that does not verify the server's identity, as with `sslmode=require`. It
/// accepts every certificate.
///
/// It does verify the signature of the handshake, with the certificate's public key. Without this
/// check, another server could present the right server's certificate, and channel binding, which
/// binds a password to the certificate, would protect nothing. All other contents of the
/// certificate are ignored: its version, extensions, validity and issuer.
#[derive(Debug)]
pub(super) struct KeyOnlyVerifier {
    provider: Arc<CryptoProvider>,
}

impl KeyOnlyVerifier {
    pub(super) fn new(provider: Arc<CryptoProvider>) -> Self {
        Self { provider }
    }
}

impl ServerCertVerifier for KeyOnlyVerifier {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let key = PublicKey::of(certificate).ok_or(CertificateError::BadEncoding)?;
        let known = self.provider.signature_verification_algorithms.mapping.iter();
        // In TLS 1.2, an ECDSA signature scheme does not determine the curve; the key does.
        let mut algorithms = known
            .filter(|(scheme, _)| *scheme == signature.scheme)
            .flat_map(|(_, algorithms)| algorithms.iter())
            .filter(|algorithm| algorithm.public_key_alg_id().as_ref() == key.algorithm);
        let is_valid = algorithms.any(|algorithm| {
            algorithm.verify_signature(key.bits, message, signature.signature()).is_ok()
        });
        match is_valid {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => Err(CertificateError::BadSignature.into()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let key = PublicKey::of(certificate).ok_or(CertificateError::BadEncoding)?;
        let key = SubjectPublicKeyInfoDer::from(key.info);
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &key, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

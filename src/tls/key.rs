//! The public key of a certificate, whatever else the certificate holds.

/// The public key of a certificate.
pub(super) struct PublicKey<'a> {
    /// The whole `SubjectPublicKeyInfo`, as TLS takes a raw key.
    pub(super) info: &'a [u8],
    /// The content of its `AlgorithmIdentifier`.
    pub(super) algorithm: &'a [u8],
    pub(super) bits: &'a [u8],
}

impl<'a> PublicKey<'a> {
    /// Finds the key in a certificate, of any version, in DER.
    pub(super) fn of(certificate: &'a [u8]) -> Option<Self> {
        let (certificate, _) = Element::read(certificate)?;
        let (signed, _) = Element::read(certificate.of(SEQUENCE)?)?;
        let mut rest = signed.of(SEQUENCE)?;
        // One of version 1 does not say its version.
        if let Some((Element { tag: VERSION, .. }, behind)) = Element::read(rest) {
            rest = behind;
        }
        for tag in [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE] {
            // Serial number, signature algorithm, issuer, validity, subject.
            let (element, behind) = Element::read(rest)?;
            element.of(tag)?;
            rest = behind;
        }
        let (info, _) = Element::read(rest)?;
        let (algorithm, rest) = Element::read(info.of(SEQUENCE)?)?;
        let (bits, _) = Element::read(rest)?;
        // The first byte counts the unused bits of the last one.
        let bits = bits.of(BIT_STRING)?.strip_prefix(&[0])?;
        Some(Self { info: info.whole, algorithm: algorithm.of(SEQUENCE)?, bits })
    }
}

/// An element of DER.
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    whole: &'a [u8],
}

impl<'a> Element<'a> {
    /// Reads the first element; returns what is behind it as well.
    fn read(der: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&tag, rest) = der.split_first()?;
        let (&length, rest) = rest.split_first()?;
        let (length, rest) = match length {
            0..=0x7f => (usize::from(length), rest),
            // The length of the length, which is at most that of 16 MB.
            0x81..=0x83 => {
                let (length, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
                (length.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte)), rest)
            }
            _ => return None,
        };
        let (content, behind) = rest.split_at_checked(length)?;
        let whole = der.get(..der.len() - behind.len())?;
        Some((Self { tag, content, whole }, behind))
    }

    /// Returns the content, if the element is of that tag.
    fn of(&self, tag: u8) -> Option<&'a [u8]> {
        (self.tag == tag).then_some(self.content)
    }
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, PublicKeyData};

    use super::*;

    fn certificate() -> (Vec<u8>, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        (certificate.der().to_vec(), key.subject_public_key_info())
    }

    #[test]
    fn the_key_of_a_certificate_is_found() {
        let (certificate, info) = certificate();

        let key = PublicKey::of(&certificate).unwrap();

        assert_eq!(key.info, info);
        assert!(info.ends_with(key.bits));
    }

    proptest! {
        /// What is no certificate has no key, and panics nowhere.
        #[test]
        fn damaged_certificates_are_read_to_their_end(
            at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()
        ) {
            let (mut certificate, _) = certificate();
            let at = at.index(certificate.len());
            certificate[at] = byte;
            let _ = PublicKey::of(&certificate);

            let cut = cut.index(certificate.len());
            prop_assert!(PublicKey::of(&certificate[..cut]).is_none());
        }
    }
}

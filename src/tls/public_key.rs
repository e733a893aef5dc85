//! A parser for the public key of a certificate. It ignores the certificate's other contents.

/// The public key of a certificate.
pub(super) struct PublicKey<'a> {
    /// The encoded `SubjectPublicKeyInfo`, which TLS uses as a raw public key.
    pub(super) info: &'a [u8],
    /// The content of its `AlgorithmIdentifier`.
    pub(super) algorithm: &'a [u8],
    pub(super) bits: &'a [u8],
}

impl<'a> PublicKey<'a> {
    /// Parses the key of a certificate of any version, in DER.
    pub(super) fn of(certificate: &'a [u8]) -> Option<Self> {
        let (certificate, _) = Element::read(certificate)?;
        let (signed, _) = Element::read(certificate.of(SEQUENCE)?)?;
        let mut rest = signed.of(SEQUENCE)?;
        // A certificate of version 1 has no version field.
        if let Some((Element { tag: VERSION, .. }, remainder)) = Element::read(rest) {
            rest = remainder;
        }
        for tag in [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE] {
            // Serial number, signature algorithm, issuer, validity, subject.
            let (element, remainder) = Element::read(rest)?;
            element.of(tag)?;
            rest = remainder;
        }
        let (info, _) = Element::read(rest)?;
        let (algorithm, rest) = Element::read(info.of(SEQUENCE)?)?;
        let (bits, _) = Element::read(rest)?;
        // The first byte is the number of unused bits in the last one.
        let bits = bits.of(BIT_STRING)?.strip_prefix(&[0])?;
        Some(Self { info: info.whole, algorithm: algorithm.of(SEQUENCE)?, bits })
    }
}

/// A DER element.
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    whole: &'a [u8],
}

impl<'a> Element<'a> {
    /// Parses the first element. Returns it with the bytes after it.
    fn read(der: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&tag, rest) = der.split_first()?;
        let (&length, rest) = rest.split_first()?;
        let (length, rest) = match length {
            0..=0x7f => (usize::from(length), rest),
            // The number of bytes of the length; three bytes allow for 16 MB.
            0x81..=0x83 => {
                let (length, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
                (length.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte)), rest)
            }
            _ => return None,
        };
        let (content, remainder) = rest.split_at_checked(length)?;
        let whole = der.get(..der.len() - remainder.len())?;
        Some((Self { tag, content, whole }, remainder))
    }

    /// Returns the content if the element has this tag.
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
        /// Damaged input never panics, and truncated input has no key.
        #[test]
        fn damaged_certificates_do_not_panic(
            at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()
        ) {
            let (certificate, _) = certificate();
            let mut damaged = certificate.clone();
            damaged[at.index(certificate.len())] = byte;
            let _ = PublicKey::of(&damaged);

            prop_assert!(PublicKey::of(&certificate[..cut.index(certificate.len())]).is_none());
        }
    }
}

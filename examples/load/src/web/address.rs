use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs as _};

/// The address that a server listens on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Address {
    /// The usual address, or a free port of this machine if it is taken.
    Default,
    /// This address and no other.
    Given(SocketAddr),
    /// No server is wanted.
    Off,
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// The option has no address.
    #[error("--metrics must be off, HOST:PORT or PORT, such as 127.0.0.1:9464, not {text:?}")]
    Invalid {
        /// The value of the option.
        text: String,
    },

    /// The system refuses the address.
    #[error("cannot listen on {address} for --metrics: give another address, or --metrics off")]
    Refused {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },

    /// Another program listens on the address.
    #[error(
        "--metrics {address} is taken by another program: end it, give another port, or leave out \
         --metrics to get a free one"
    )]
    Taken {
        /// The address.
        address: SocketAddr,
    },
}

impl Address {
    /// Reads the value of `--metrics`. A port without a host is one of this machine.
    ///
    /// # Errors
    ///
    /// [`AddressError::Invalid`] if it has no address.
    pub fn parse(text: Option<&str>) -> Result<Self, AddressError> {
        let Some(text) = text else { return Ok(Self::Default) };
        if text == "off" {
            return Ok(Self::Off);
        }
        let address = match text.parse::<u16>() {
            Ok(port) => Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
            // A host can have several addresses. The first one is used.
            Err(_) => text.to_socket_addrs().ok().and_then(|mut addresses| addresses.next()),
        };
        let address = address.ok_or_else(|| AddressError::Invalid { text: text.to_owned() })?;
        Ok(Self::Given(address))
    }
}

/// The port at which Prometheus expects an exporter of OpenTelemetry.
pub(super) const USUAL: SocketAddr = local(9464);
/// Any free port.
pub(super) const FREE: SocketAddr = local(0);

const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_port_or_a_host_and_a_port() {
        for (text, address) in
            [("9000", "127.0.0.1:9000"), ("0.0.0.0:9000", "0.0.0.0:9000"), ("[::1]:0", "[::1]:0")]
        {
            let address = Address::Given(address.parse().unwrap());

            assert_eq!(Address::parse(Some(text)).unwrap(), address, "{text}");
        }
        assert_eq!(Address::parse(Some("off")).unwrap(), Address::Off);
        assert_eq!(Address::parse(None).unwrap(), Address::Default);
    }

    #[test]
    fn other_values_are_refused() {
        for text in ["", "on", "127.0.0.1", "99999", "127.0.0.1:http", "http://127.0.0.1:9464"] {
            let error = Address::parse(Some(text)).unwrap_err();

            assert!(error.to_string().contains("127.0.0.1:9464"), "{text}: {error}");
        }
    }
}

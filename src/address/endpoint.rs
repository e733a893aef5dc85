use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use tokio_postgres::config::Host;

use super::Reason;

/// A host of an address, with its port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Endpoint {
    /// A name, an IP address or the directory of a socket. The server's certificate is checked for
    /// it.
    pub(crate) host: Host,
    /// The IP address to connect to, without a look-up of the host.
    pub(crate) hostaddr: Option<IpAddr>,
    pub(crate) port: u16,
}

impl Endpoint {
    /// Joins the lists of hosts, of their IP addresses and of their ports.
    pub(super) fn join(
        hosts: Vec<&str>,
        hostaddrs: Vec<&str>,
        ports: Vec<&str>,
    ) -> Result<Vec<Self>, Reason> {
        let count = hosts.len().max(hostaddrs.len());
        if count == 0 {
            return Err(NO_HOST.into());
        }
        if !hosts.is_empty() && !hostaddrs.is_empty() && hosts.len() != hostaddrs.len() {
            let (hosts, hostaddrs) = (hosts.len(), hostaddrs.len());
            return Err(format!("host names {hosts} hosts, hostaddr {hostaddrs}").into());
        }
        if ports.len() > 1 && ports.len() != count {
            let ports = ports.len();
            return Err(format!("port names {ports} ports for {count} hosts").into());
        }
        let endpoint = |index: usize| {
            Self::parse(
                hosts.get(index).copied().unwrap_or_default(),
                hostaddrs.get(index).copied().unwrap_or_default(),
                ports.get(index).or(ports.first()).copied().unwrap_or_default(),
            )
        };
        (0..count).map(endpoint).collect()
    }

    fn parse(host: &str, hostaddr: &str, port: &str) -> Result<Self, Reason> {
        let hostaddr: Option<IpAddr> = match hostaddr {
            "" => None,
            address if has_zone(address) => return Err(BAD_ZONE.into()),
            address => Some(address.parse().map_err(|_| BAD_HOSTADDR)?),
        };
        let host = match (host, hostaddr) {
            ("", None) => return Err(NO_HOST.into()),
            ("", Some(address)) => Host::Tcp(address.to_string()),
            #[cfg(unix)]
            (path, _) if path.starts_with('/') => Host::Unix(path.into()),
            (name, _) if has_zone(name) => return Err(BAD_ZONE.into()),
            (name, _) if is_name(name) || name.parse::<IpAddr>().is_ok() => {
                Host::Tcp(name.to_owned())
            }
            _ => return Err(BAD_HOST.into()),
        };
        let port = match port {
            "" => DEFAULT_PORT,
            port => port.parse().ok().filter(|&port| port > 0).ok_or(BAD_PORT)?,
        };
        Ok(Self { host, hostaddr, port })
    }

    /// Returns the host as text. If the host is a directory with a `hostaddr`, returns the
    /// `hostaddr`.
    pub(crate) fn host(&self) -> String {
        match (&self.host, self.hostaddr) {
            (Host::Tcp(host), _) => host.clone(),
            #[cfg(unix)]
            (Host::Unix(_), Some(address)) => address.to_string(),
            #[cfg(unix)]
            (Host::Unix(directory), None) => directory.display().to_string(),
        }
    }

    /// Returns whether it is a Unix-domain socket of this machine, which needs no encryption.
    pub(crate) fn is_local_socket(&self) -> bool {
        self.is_directory() && self.hostaddr.is_none()
    }

    /// Returns whether the host is a directory. No certificate is issued for a directory.
    pub(crate) fn is_directory(&self) -> bool {
        match &self.host {
            Host::Tcp(_) => false,
            #[cfg(unix)]
            Host::Unix(_) => true,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host(), self.port)
    }
}

/// Returns whether the host may be a name of the domain name system.
fn is_name(host: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    host.len() <= MAX_NAME_BYTES && host.chars().all(letter)
}

/// Returns whether the host is an IPv6 address with a zone. The driver does not support zones.
fn has_zone(host: &str) -> bool {
    host.split_once('%').is_some_and(|(address, _)| address.parse::<Ipv6Addr>().is_ok())
}

const DEFAULT_PORT: u16 = 5432;
const MAX_NAME_BYTES: usize = 253;
const NO_HOST: &str = "names no host: write a name, an address or the directory of a socket";
const BAD_HOST: &str = "a host is neither a name, an address nor the directory of a socket: a \
    name has only letters, digits, - . and _";
const BAD_HOSTADDR: &str =
    "hostaddr is not an IP address or a comma-separated list of IP addresses";
const BAD_ZONE: &str = "a host is an IPv6 address with a zone (the part after the %), which a \
    store does not support: write an address that needs no zone, or a name that resolves to one";
const BAD_PORT: &str = "its port is not a number from 1 to 65535";

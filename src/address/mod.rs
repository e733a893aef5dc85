//! The addresses of servers, in the formats of `libpq`.

mod builder;
mod certificates;
mod driver;
mod endpoint;
mod parameter;
mod text;

use std::borrow::Cow;
use std::time::Duration;

use self::builder::AddressBuilder;
pub(crate) use self::certificates::{ClientCertificate, RootCertificates};
pub(crate) use self::endpoint::Endpoint;
use crate::Error;

/// The address of one server, or of several hosts of which one is the server.
#[derive(Clone)]
pub(crate) struct Address {
    /// The hosts in the order in which the address names them; at least one.
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) target_session: TargetSession,
    /// Whether the hosts are tried in a random order.
    pub(crate) is_shuffled: bool,
    /// The trusted certificates, if the address asks for a server with a verified identity.
    pub(crate) root_certificates: Option<RootCertificates>,
    pub(crate) client_certificate: Option<ClientCertificate>,
    /// The driver's settings, without a host.
    pub(crate) driver: tokio_postgres::Config,
}

/// The state of the server that an address asks for: `target_session_attrs`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum TargetSession {
    #[default]
    Any,
    PreferStandby,
    Primary,
    ReadOnly,
    ReadWrite,
    Standby,
}

impl TargetSession {
    /// Returns whether only a primary is accepted.
    pub(crate) fn is_primary(self) -> bool {
        matches!(self, Self::Primary | Self::ReadWrite)
    }
}

/// The reason for which an address is refused. It contains only names and values that the crate
/// itself knows, because any other part of the address may be a piece of a password.
type Reason = Cow<'static, str>;

impl Address {
    /// Parses an address: a URL, or a list of names and values.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        Self::read(text).map_err(|reason| Error::invalid_config("url", reason))
    }

    /// Returns whether two addresses name the same hosts and the same database.
    pub(crate) fn is_same_server(&self, other: &Self) -> bool {
        let has_all = |one: &Self, other: &Self| {
            one.endpoints.iter().all(|endpoint| other.endpoints.contains(endpoint))
        };
        let database =
            |one: &Self| one.driver.get_dbname().or(one.driver.get_user()).map(str::to_owned);
        has_all(self, other) && has_all(other, self) && database(self) == database(other)
    }

    /// Returns an address for each host.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = Self> {
        let target_session = TargetSession::Any;
        self.endpoints.iter().map(move |endpoint| Self {
            endpoints: vec![endpoint.clone()],
            target_session,
            ..self.clone()
        })
    }

    fn read(text: &str) -> Result<Self, Reason> {
        let mut builder = AddressBuilder::default();
        for pair in text::pairs(text)? {
            // As for libpq, a parameter with an empty value is not set.
            if !pair.value.is_empty() {
                parameter::apply(&mut builder, &pair.name, &pair.value)?;
            }
        }
        builder.build()
    }
}

/// The longest time that the server can count in milliseconds: 24 days.
const MAX_SECONDS: u64 = 24 * 24 * 60 * 60;

#[cfg(test)]
mod tests;

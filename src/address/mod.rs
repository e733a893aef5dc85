//! The addresses of servers, written as `libpq` takes them.

mod draft;
mod endpoint;
mod parameter;
mod text;

use std::borrow::Cow;
use std::time::Duration;

use self::draft::Draft;
pub(crate) use self::endpoint::Endpoint;
use crate::Error;

/// The address of one server, or of several hosts of which one is the server.
#[derive(Clone)]
pub(crate) struct Address {
    /// The hosts in the order in which the address names them; at least one.
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) demand: Demand,
    /// Whether the hosts are tried in a random order.
    pub(crate) is_shuffled: bool,
    /// The driver's settings, without a host.
    pub(crate) driver: tokio_postgres::Config,
}

/// The state of a server that an address asks for, by `target_session_attrs`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Demand {
    #[default]
    Any,
    PreferStandby,
    Primary,
    ReadOnly,
    ReadWrite,
    Standby,
}

/// The reason for which an address is refused. It repeats nothing of the address but names and
/// values that the crate itself knows: any other part may be a piece of a password.
type Reason = Cow<'static, str>;

impl Address {
    /// Reads an address: a URL, or a list of pairs of a name and a value.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        Self::read(text).map_err(|reason| Error::invalid_config("url", reason))
    }

    fn read(text: &str) -> Result<Self, Reason> {
        let mut draft = Draft::default();
        for pair in text::pairs(text)? {
            // An empty value is none, as for libpq.
            if !pair.value.is_empty() {
                parameter::apply(&mut draft, &pair.name, &pair.value)?;
            }
        }
        draft.finish()
    }
}

#[cfg(test)]
mod tests;

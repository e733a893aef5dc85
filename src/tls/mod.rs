//! Encryption of connections, by rustls.

mod certificates;
mod connector;
mod key_only_verifier;
mod public_key;

use tokio_postgres::config::{SslMode, SslNegotiation};

use self::certificates::Trust;
pub(crate) use self::connector::{Connector, TrackedConnector};
use crate::address::{Address, Endpoint};
use crate::{Config, Error, Tls};

/// Applies [`Config::tls`](crate::Config::tls), if it is set, to the settings of an address.
pub(crate) fn apply(tls: Option<&Tls>, driver: &mut tokio_postgres::Config) {
    let mode = match tls {
        None => return,
        Some(Tls::Disable) => SslMode::Disable,
        Some(Tls::Prefer) => SslMode::Prefer,
        Some(Tls::Require | Tls::Verify { .. } | Tls::VerifySystem) => SslMode::Require,
    };
    driver.ssl_mode(mode);
}

/// Refuses settings with which no connection to a host can be made, or that have no effect.
pub(crate) fn check(
    config: &Config,
    address: &Address,
    driver: &tokio_postgres::Config,
    endpoint: &Endpoint,
) -> Result<(), Error> {
    if Trust::of(config, address).is_verified() && endpoint.is_directory() {
        return Err(Error::invalid_config(
            "url",
            "Tls::Verify and sslmode=verify-full check the certificate for the host, and host is \
             the directory of a socket: set host to the name in the certificate, or leave host \
             out if the certificate is for the address in hostaddr",
        ));
    }
    let mode = driver.get_ssl_mode();
    if mode == SslMode::Disable
        && let Some(certificate) = config.client_certificate_for(address)
    {
        return Err(Error::invalid_config(
            certificate.setting,
            "a client certificate is sent over encrypted connections only, and encryption is \
             disabled: set sslmode or Config::tls to another mode, or leave the certificate out",
        ));
    }
    let is_direct = driver.get_ssl_negotiation() == SslNegotiation::Direct;
    match mode {
        SslMode::Require | SslMode::Disable => Ok(()),
        _ if is_direct => Err(Error::invalid_config(
            "url",
            "sslnegotiation=direct needs required encryption: add sslmode=require, or set \
             Config::tls to Tls::Require or Tls::Verify",
        )),
        _ => Ok(()),
    }
}

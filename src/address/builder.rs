use std::time::Duration;

use tokio_postgres::config::{ChannelBinding, SslMode, SslNegotiation};

use super::certificates::{CertificateParameters, RequestedMode};
use super::{Address, Endpoint, MAX_SECONDS, Reason, TargetSession};

/// A builder of an address from its parameters.
#[derive(Default)]
pub(super) struct AddressBuilder {
    pub(super) driver: tokio_postgres::Config,
    host: Option<String>,
    hostaddr: Option<String>,
    port: Option<String>,
    fallback_application_name: Option<String>,
    connect_timeout: Option<Duration>,
    target_session: TargetSession,
    is_shuffled: bool,
    certificates: CertificateParameters,
}

impl AddressBuilder {
    /// Sets a parameter. Returns `None` if the parameter does not accept the value.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Option<()> {
        let text = || value.to_owned();
        match name {
            "host" => self.host = Some(text()),
            "hostaddr" => self.hostaddr = Some(text()),
            "port" => self.port = Some(text()),
            "fallback_application_name" => self.fallback_application_name = Some(text()),
            "connect_timeout" => self.connect_timeout = Some(seconds(value)?),
            "load_balance_hosts" => {
                self.is_shuffled = choose(value, [("disable", false), ("random", true)])?;
            }
            "target_session_attrs" => self.target_session = choose(value, TARGET_SESSIONS)?,
            // PostgreSQL ignores it since version 14.
            "tty" => {}
            name if name.starts_with("ssl") => return self.set_encryption(name, value),
            name => return self.set_driver(name, value),
        }
        Some(())
    }

    fn set_encryption(&mut self, name: &str, value: &str) -> Option<()> {
        let (driver, certificates) = (&mut self.driver, &mut self.certificates);
        match name {
            "ssl" | "sslmode" => {
                let modes = if name == "ssl" { &SSL[..] } else { &SSL_MODES[..] };
                let (_, mode, requested) = modes.iter().find(|(name, ..)| *name == value)?;
                driver.ssl_mode(*mode);
                certificates.sslmode = Some(*requested);
            }
            "sslcert" => certificates.sslcert = Some(value.to_owned()),
            "sslcertmode" => {
                certificates.is_cert_disabled =
                    choose(value, [("allow", false), ("disable", true)])?;
            }
            "sslkey" => certificates.sslkey = Some(value.to_owned()),
            "sslnegotiation" => {
                driver.ssl_negotiation(choose(value, NEGOTIATIONS)?);
            }
            "sslrootcert" => certificates.sslrootcert = Some(value.to_owned()),
            _ => return None,
        }
        Some(())
    }

    fn set_driver(&mut self, name: &str, value: &str) -> Option<()> {
        let driver = &mut self.driver;
        match name {
            "application_name" => driver.application_name(value),
            "channel_binding" => driver.channel_binding(choose(value, BINDINGS)?),
            "dbname" => driver.dbname(value),
            "keepalives" => driver.keepalives(choose(value, [("0", false), ("1", true)])?),
            "keepalives_count" | "keepalives_retries" => {
                driver.keepalives_retries(number(value, 1_000)?.try_into().ok()?)
            }
            "keepalives_idle" => driver.keepalives_idle(seconds(value)?),
            "keepalives_interval" => driver.keepalives_interval(seconds(value)?),
            "options" => driver.options(value),
            // The driver's own parser would read seconds.
            "tcp_user_timeout" => {
                driver.tcp_user_timeout(Duration::from_millis(number(value, 1_000 * MAX_SECONDS)?))
            }
            "user" => driver.user(value),
            _ => return None,
        };
        Some(())
    }

    /// Builds the address.
    pub(super) fn build(mut self) -> Result<Address, Reason> {
        let [hosts, hostaddrs, ports] = [&self.host, &self.hostaddr, &self.port]
            .map(|list| list.as_deref().map_or(Vec::new(), split));
        let endpoints = Endpoint::join(hosts, hostaddrs, ports)?;
        let root_certificates = self.certificates.root_certificates()?;
        let client_certificate = self.certificates.client_certificate()?;
        if root_certificates.is_some() {
            self.driver.ssl_mode(SslMode::Require);
        }
        if self.driver.get_application_name().is_none()
            && let Some(name) = &self.fallback_application_name
        {
            self.driver.application_name(name);
        }
        Ok(Address {
            endpoints,
            connect_timeout: self.connect_timeout,
            target_session: self.target_session,
            is_shuffled: self.is_shuffled,
            root_certificates,
            client_certificate,
            driver: self.driver,
        })
    }
}

fn split(list: &str) -> Vec<&str> {
    list.split(',').map(str::trim).collect()
}

fn choose<T, const N: usize>(value: &str, choices: [(&str, T); N]) -> Option<T> {
    choices.into_iter().find_map(|(name, choice)| (name == value).then_some(choice))
}

fn number(value: &str, max: u64) -> Option<u64> {
    value.trim().parse().ok().filter(|number| (1..=max).contains(number))
}

fn seconds(value: &str) -> Option<Duration> {
    number(value, MAX_SECONDS).map(Duration::from_secs)
}

const BINDINGS: [(&str, ChannelBinding); 3] = [
    ("disable", ChannelBinding::Disable),
    ("prefer", ChannelBinding::Prefer),
    ("require", ChannelBinding::Require),
];
const NEGOTIATIONS: [(&str, SslNegotiation); 2] =
    [("postgres", SslNegotiation::Postgres), ("direct", SslNegotiation::Direct)];
const SSL: [(&str, SslMode, RequestedMode); 1] =
    [("true", SslMode::Require, RequestedMode::Unverified)];
const SSL_MODES: [(&str, SslMode, RequestedMode); 4] = [
    ("disable", SslMode::Disable, RequestedMode::Unverified),
    ("prefer", SslMode::Prefer, RequestedMode::Unverified),
    ("require", SslMode::Require, RequestedMode::Unverified),
    ("verify-full", SslMode::Require, RequestedMode::Verified),
];
const TARGET_SESSIONS: [(&str, TargetSession); 6] = [
    ("any", TargetSession::Any),
    ("prefer-standby", TargetSession::PreferStandby),
    ("primary", TargetSession::Primary),
    ("read-only", TargetSession::ReadOnly),
    ("read-write", TargetSession::ReadWrite),
    ("standby", TargetSession::Standby),
];

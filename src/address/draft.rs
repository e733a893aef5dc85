use std::time::Duration;

use tokio_postgres::config::{ChannelBinding, SslMode, SslNegotiation};

use super::{Address, Demand, Endpoint, Reason};

/// What an address has said so far.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) driver: tokio_postgres::Config,
    host: Option<String>,
    hostaddr: Option<String>,
    port: Option<String>,
    fallback_application_name: Option<String>,
    connect_timeout: Option<Duration>,
    demand: Demand,
    is_shuffled: bool,
}

impl Draft {
    /// Sets a parameter, if the value is one that it takes.
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
            "target_session_attrs" => self.demand = choose(value, DEMANDS)?,
            // It means nothing since PostgreSQL 14.
            "tty" => {}
            name => return self.set_driver(name, value),
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
            "ssl" => driver.ssl_mode(choose(value, [("true", SslMode::Require)])?),
            "sslmode" => driver.ssl_mode(choose(value, MODES)?),
            "sslnegotiation" => driver.ssl_negotiation(choose(value, NEGOTIATIONS)?),
            // The driver itself would take it for seconds.
            "tcp_user_timeout" => {
                driver.tcp_user_timeout(Duration::from_millis(number(value, 1_000 * MAX_SECONDS)?))
            }
            "user" => driver.user(value),
            _ => return None,
        };
        Some(())
    }

    /// Joins it to an address.
    pub(super) fn finish(mut self) -> Result<Address, Reason> {
        let lists = [&self.host, &self.hostaddr, &self.port].map(Option::as_deref);
        let [hosts, hostaddrs, ports] = lists;
        let endpoints = Endpoint::join(hosts, hostaddrs, ports)?;
        if self.driver.get_application_name().is_none()
            && let Some(name) = &self.fallback_application_name
        {
            self.driver.application_name(name);
        }
        Ok(Address {
            endpoints,
            connect_timeout: self.connect_timeout,
            demand: self.demand,
            is_shuffled: self.is_shuffled,
            driver: self.driver,
        })
    }
}

fn choose<T, const N: usize>(value: &str, choices: [(&str, T); N]) -> Option<T> {
    choices.into_iter().find_map(|(name, choice)| (name == value).then_some(choice))
}

fn number(value: &str, most: u64) -> Option<u64> {
    value.trim().parse().ok().filter(|number| (1..=most).contains(number))
}

fn seconds(value: &str) -> Option<Duration> {
    number(value, MAX_SECONDS).map(Duration::from_secs)
}

const BINDINGS: [(&str, ChannelBinding); 3] = [
    ("disable", ChannelBinding::Disable),
    ("prefer", ChannelBinding::Prefer),
    ("require", ChannelBinding::Require),
];
const DEMANDS: [(&str, Demand); 6] = [
    ("any", Demand::Any),
    ("prefer-standby", Demand::PreferStandby),
    ("primary", Demand::Primary),
    ("read-only", Demand::ReadOnly),
    ("read-write", Demand::ReadWrite),
    ("standby", Demand::Standby),
];
const MODES: [(&str, SslMode); 3] =
    [("disable", SslMode::Disable), ("prefer", SslMode::Prefer), ("require", SslMode::Require)];
const NEGOTIATIONS: [(&str, SslNegotiation); 2] =
    [("postgres", SslNegotiation::Postgres), ("direct", SslNegotiation::Direct)];
/// 24 days, the longest time that the server can count in milliseconds.
const MAX_SECONDS: u64 = 24 * 24 * 60 * 60;

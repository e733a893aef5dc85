use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{
    ChannelBinding, Host, LoadBalanceHosts, SslMode, SslNegotiation, TargetSessionAttrs,
};

use super::{Address, Endpoint, MAX_SECONDS, Reason, TargetSession};
use crate::Error;

impl Address {
    /// Converts the driver's configuration, with the same checks as for an address in text form.
    pub(crate) fn from_driver(config: &Config) -> Result<Self, Error> {
        Self::convert(config).map_err(|reason| Error::invalid_config(SETTING, reason))
    }

    fn convert(config: &Config) -> Result<Self, Reason> {
        Ok(Self {
            endpoints: endpoints(config)?,
            connect_timeout: config
                .get_connect_timeout()
                .map(|timeout| check_time("connect_timeout", *timeout, Duration::from_millis(1)))
                .transpose()?,
            target_session: target_session(config)?,
            is_shuffled: is_shuffled(config)?,
            root_certificates: None,
            client_certificate: None,
            driver: without_hosts(config)?,
        })
    }
}

fn endpoints(config: &Config) -> Result<Vec<Endpoint>, Reason> {
    let host = |host: &Host| match host {
        Host::Tcp(name) if name.is_empty() => Err(Reason::from("a host is empty")),
        Host::Tcp(name) => Ok(name.clone()),
        #[cfg(unix)]
        Host::Unix(path) => {
            let directory = path.to_str().filter(|path| path.starts_with('/'));
            directory.map(str::to_owned).ok_or(RELATIVE_DIRECTORY.into())
        }
    };
    let hosts: Vec<_> = config.get_hosts().iter().map(host).collect::<Result<_, _>>()?;
    let hostaddrs: Vec<_> = config.get_hostaddrs().iter().map(ToString::to_string).collect();
    let ports: Vec<_> = config.get_ports().iter().map(ToString::to_string).collect();
    let [hosts, hostaddrs, ports] =
        [&hosts, &hostaddrs, &ports].map(|list| list.iter().map(String::as_str).collect());
    Endpoint::join(hosts, hostaddrs, ports)
}

fn target_session(config: &Config) -> Result<TargetSession, Reason> {
    match config.get_target_session_attrs() {
        TargetSessionAttrs::Any => Ok(TargetSession::Any),
        TargetSessionAttrs::ReadOnly => Ok(TargetSession::ReadOnly),
        TargetSessionAttrs::ReadWrite => Ok(TargetSession::ReadWrite),
        _ => Err(unknown("target_session_attrs")),
    }
}

fn is_shuffled(config: &Config) -> Result<bool, Reason> {
    match config.get_load_balance_hosts() {
        LoadBalanceHosts::Disable => Ok(false),
        LoadBalanceHosts::Random => Ok(true),
        _ => Err(unknown("load_balance_hosts")),
    }
}

/// Copies the settings that do not depend on the host.
fn without_hosts(config: &Config) -> Result<Config, Reason> {
    let mut copy = Config::new();
    if let Some(user) = config.get_user() {
        copy.user(user);
    }
    if let Some(password) = config.get_password() {
        copy.password(password);
    }
    if let Some(dbname) = config.get_dbname() {
        copy.dbname(dbname);
    }
    if let Some(options) = config.get_options() {
        copy.options(options);
    }
    if let Some(name) = config.get_application_name() {
        copy.application_name(name);
    }
    copy_encryption(config, &mut copy)?;
    copy_keepalives(config, &mut copy)?;
    Ok(copy)
}

fn copy_encryption(config: &Config, copy: &mut Config) -> Result<(), Reason> {
    match config.get_ssl_mode() {
        mode @ (SslMode::Disable | SslMode::Prefer | SslMode::Require) => copy.ssl_mode(mode),
        _ => return Err(unknown("ssl_mode")),
    };
    match config.get_ssl_negotiation() {
        negotiation @ (SslNegotiation::Postgres | SslNegotiation::Direct) => {
            copy.ssl_negotiation(negotiation)
        }
        _ => return Err(unknown("ssl_negotiation")),
    };
    match config.get_channel_binding() {
        binding @ (ChannelBinding::Disable | ChannelBinding::Prefer | ChannelBinding::Require) => {
            copy.channel_binding(binding)
        }
        _ => return Err(unknown("channel_binding")),
    };
    Ok(())
}

fn copy_keepalives(config: &Config, copy: &mut Config) -> Result<(), Reason> {
    copy.keepalives(config.get_keepalives());
    copy.keepalives_idle(check_seconds("keepalives_idle", config.get_keepalives_idle())?);
    if let Some(interval) = config.get_keepalives_interval() {
        copy.keepalives_interval(check_seconds("keepalives_interval", interval)?);
    }
    if let Some(retries) = config.get_keepalives_retries() {
        if !(1..=1_000).contains(&retries) {
            return Err("keepalives_retries is not a number from 1 to 1000".into());
        }
        copy.keepalives_retries(retries);
    }
    if let Some(timeout) = config.get_tcp_user_timeout() {
        let timeout = check_time("tcp_user_timeout", *timeout, Duration::from_millis(1))?;
        if timeout.subsec_nanos() % 1_000_000 != 0 {
            return Err("tcp_user_timeout is not a whole number of milliseconds".into());
        }
        copy.tcp_user_timeout(timeout);
    }
    Ok(())
}

/// Checks a time that the operating system counts in seconds.
fn check_seconds(name: &str, time: Duration) -> Result<Duration, Reason> {
    let time = check_time(name, time, Duration::from_secs(1))?;
    match time.subsec_nanos() {
        0 => Ok(time),
        _ => Err(format!("{name} is not a whole number of seconds").into()),
    }
}

fn check_time(name: &str, time: Duration, min: Duration) -> Result<Duration, Reason> {
    match (min..=Duration::from_secs(MAX_SECONDS)).contains(&time) {
        true => Ok(time),
        false => Err(format!("{name} is {time:?}, allowed are {min:?} to 24 days").into()),
    }
}

/// Returns the reason to refuse a value that a newer version of the driver added to an enum.
fn unknown(name: &str) -> Reason {
    format!("the value of {name} is not known to this version of eddyline").into()
}

const SETTING: &str = "tokio_postgres::Config";
#[cfg(unix)]
const RELATIVE_DIRECTORY: &str =
    "the directory of a socket is not an absolute path in UTF-8: write it from the root";

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let mut config = Config::new();
        config.host("localhost");
        config
    }

    #[test]
    fn all_settings_reach_the_driver() {
        let mut config = config();
        config
            .host("/tmp")
            .hostaddr([127, 0, 0, 1].into())
            .hostaddr([127, 0, 0, 2].into())
            .port(7)
            .user("ada")
            .password([0xff, 0x00])
            .dbname("library")
            .options("-cgeqo=off")
            .application_name("loans")
            .ssl_mode(SslMode::Require)
            .ssl_negotiation(SslNegotiation::Direct)
            .channel_binding(ChannelBinding::Require)
            .connect_timeout(Duration::from_millis(1_500))
            .tcp_user_timeout(Duration::from_millis(1_500))
            .keepalives(false)
            .keepalives_idle(Duration::from_secs(7))
            .keepalives_interval(Duration::from_secs(8))
            .keepalives_retries(9)
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .load_balance_hosts(LoadBalanceHosts::Random);

        let address = Address::from_driver(&config).unwrap();

        let mut expected = address.driver.clone();
        for host in config.get_hosts() {
            match host {
                Host::Tcp(name) => expected.host(name),
                #[cfg(unix)]
                Host::Unix(path) => expected.host_path(path),
            };
        }
        for hostaddr in config.get_hostaddrs() {
            expected.hostaddr(*hostaddr);
        }
        expected.port(7).connect_timeout(Duration::from_millis(1_500));
        expected.target_session_attrs(TargetSessionAttrs::ReadWrite);
        expected.load_balance_hosts(LoadBalanceHosts::Random);
        assert_eq!(expected, config);
        assert_eq!(address.connect_timeout, Some(Duration::from_millis(1_500)));
        assert_eq!(address.target_session, TargetSession::ReadWrite);
        assert!(address.is_shuffled);
        let endpoints: Vec<_> = address.endpoints.iter().map(ToString::to_string).collect();
        assert_eq!(endpoints, ["localhost:7", "127.0.0.2:7"]);
    }

    #[test]
    fn settings_that_cannot_be_honored_are_refused_by_their_names() {
        type Change = fn(&mut Config) -> &mut Config;
        let changes: [(&str, Change); 11] = [
            ("host", |config| config.host("")),
            ("host", |config| config.host("a,b")),
            ("directory", |config| config.host_path("run/postgresql")),
            ("port", |config| config.port(0)),
            ("port", |config| config.port(1).port(2)),
            ("host names 1 hosts, hostaddr 2", |config| {
                config.hostaddr([127, 0, 0, 1].into()).hostaddr([127, 0, 0, 2].into())
            }),
            ("connect_timeout", |config| config.connect_timeout(Duration::ZERO)),
            ("tcp_user_timeout", |config| config.tcp_user_timeout(Duration::from_micros(1_500))),
            ("keepalives_idle", |config| config.keepalives_idle(Duration::from_millis(1_500))),
            ("keepalives_interval", |config| config.keepalives_interval(Duration::MAX)),
            ("keepalives_retries", |config| config.keepalives_retries(0)),
        ];
        for (name, change) in changes {
            let mut config = config();
            change(&mut config);

            let refused = Address::from_driver(&config).err();

            let Some(Error::InvalidConfig { setting, reason }) = refused else {
                panic!("{name}: {refused:?}")
            };
            assert_eq!(setting, "tokio_postgres::Config");
            assert!(reason.contains(name), "{name}: {reason}");
        }
    }

    #[test]
    fn a_configuration_without_a_host_is_refused() {
        let refused = Address::from_driver(&Config::new()).err();

        assert!(matches!(refused, Some(Error::InvalidConfig { .. })), "{refused:?}");
    }
}

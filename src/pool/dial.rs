use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::timeout;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use super::attempt::{Addresses, Attempt, Clock, LastFailure};
use super::login::{Login, Refusal};
use super::session::Session;
use super::session_settings::SessionSettings;
use crate::address::{Address, Demand, Endpoint};
use crate::error::{BoxError, cause};
use crate::error::{ConnectionFailure, Failure, Phase};
use crate::server::Server;
use crate::{Class, Config, Error, Role, sql, tls};

/// Connects to the server of an address: to the first of its hosts, and of their addresses, that
/// answers and is what was asked for.
pub(super) struct Dialer {
    server: Arc<Server>,
    hosts: Arc<Hosts>,
    demands: &'static [Demand],
    is_shuffled: bool,
    connect_timeout: Duration,
    login: Login,
}

/// The hosts of an address, for all who connect to them.
struct Hosts {
    targets: Vec<Target>,
    clock: Clock,
}

/// A host of the address.
struct Target {
    endpoint: Endpoint,
    server: Arc<Server>,
    driver: tokio_postgres::Config,
    addresses: Addresses,
    last_failure: LastFailure,
}

impl Dialer {
    pub(super) fn new(
        config: &Config,
        address: &Address,
        server: Arc<Server>,
        terms: Arc<SessionSettings>,
    ) -> Result<Self, Error> {
        let demands = demands(server.role, address.demand)?;
        let mut driver = address.driver.clone();
        tls::apply(config.tls.as_ref(), &mut driver);
        if server.role == Role::Replica {
            // Asked before the store has set the session to read only.
            driver.target_session_attrs(match address.demand {
                Demand::ReadOnly => TargetSessionAttrs::ReadOnly,
                Demand::ReadWrite => TargetSessionAttrs::ReadWrite,
                _ => TargetSessionAttrs::Any,
            });
        }
        set_defaults(&mut driver, server.role);
        let targets = address.endpoints.iter().map(|endpoint| Target {
            endpoint: endpoint.clone(),
            server: Arc::new(server.at_endpoint(endpoint)),
            driver: driver.clone(),
            addresses: Addresses::default(),
            last_failure: LastFailure::default(),
        });
        let targets: Vec<_> = targets.collect();
        for host in targets.iter().filter(|host| !host.endpoint.is_local_socket()) {
            tls::check(config.tls.as_ref(), &driver, &host.endpoint)?;
        }
        Ok(Self {
            hosts: Arc::new(Hosts { targets, clock: Clock::default() }),
            demands,
            is_shuffled: address.is_shuffled,
            connect_timeout: config
                .connect_timeout
                .or(address.connect_timeout)
                .unwrap_or(DEFAULT_CONNECT_TIMEOUT),
            login: Login::new(config, terms)?,
            server,
        })
    }

    /// Makes a dialer that sets its connections up in another way.
    pub(super) fn on_terms(
        &self,
        config: &Config,
        terms: Arc<SessionSettings>,
    ) -> Result<Self, Error> {
        Ok(Self {
            server: self.server.clone(),
            hosts: self.hosts.clone(),
            demands: self.demands,
            is_shuffled: self.is_shuffled,
            connect_timeout: self.connect_timeout,
            login: Login::new(config, terms)?,
        })
    }

    /// Makes a connection. Each address has the whole timeout for itself.
    pub(super) async fn connect(&self) -> Result<Session, Error> {
        let mut failures = Vec::new();
        for demand in self.demands {
            for host in self.in_order() {
                let attempt = Attempt::new(&self.hosts.clock, &host.last_failure);
                match self.connect_to(host, *demand).await {
                    Ok(session) => {
                        attempt.succeed();
                        return Ok(session);
                    }
                    Err(failed) => failures.extend(failed),
                }
            }
        }
        Err(most_telling(failures).unwrap_or_else(|| self.timed_out("it has no address")))
    }

    /// Waits for what is asked of a new connection no longer than for the connection itself.
    pub(super) async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        match timeout(self.connect_timeout, answer).await {
            Ok(answer) => answer,
            Err(elapsed) => Err(self.timed_out(elapsed)),
        }
    }

    /// Says that a connection was not made in time.
    pub(super) fn timed_out(&self, elapsed: impl Into<BoxError>) -> Error {
        self.silent(&self.server, elapsed)
    }

    fn silent(&self, server: &Server, elapsed: impl Into<BoxError>) -> Error {
        let reason = format!(
            "it did not answer within {:?}: check the host, the port and the network",
            self.connect_timeout
        );
        unreachable(server, ConnectionFailure::TimedOut, reason, elapsed)
    }

    /// Returns the hosts in the order in which to ask them. Those whose last attempt failed come
    /// last; among those, the one that has been left alone for longest comes first.
    fn in_order(&self) -> Vec<&Target> {
        let mut hosts: Vec<_> = self.hosts.targets.iter().collect();
        if self.is_shuffled {
            fastrand::shuffle(&mut hosts);
        }
        hosts.sort_by_cached_key(|host| host.last_failure.rank());
        hosts
    }

    /// Looks a host up, and asks one of its addresses after the other.
    async fn connect_to(&self, host: &Target, demand: Demand) -> Result<Session, Vec<Error>> {
        let addresses = match timeout(self.connect_timeout, host.addresses()).await {
            Ok(addresses) => addresses,
            Err(elapsed) => Err(self.silent(&host.server, elapsed)),
        };
        let addresses = addresses.map_err(|failure| vec![failure])?;
        self.connect_to_one_of(host, addresses, demand).await
    }

    /// Asks one address of a host after the other, those whose last attempt failed last. So a new
    /// connection does not wait again for an address that is silent, or that is not what is asked for.
    async fn connect_to_one_of(
        &self,
        host: &Target,
        addresses: Vec<Option<IpAddr>>,
        demand: Demand,
    ) -> Result<Session, Vec<Error>> {
        let mut failures = Vec::new();
        for (address, last_failure) in host.addresses.in_order(addresses) {
            let attempt = Attempt::new(&self.hosts.clock, &last_failure);
            match self.connect_at(host, address, demand).await {
                Ok(session) => {
                    attempt.succeed();
                    return Ok(session);
                }
                Err(failed) => failures.extend(failed),
            }
        }
        Err(failures)
    }

    /// Connects to one address; in plain text, if encryption is only preferred and fails there.
    async fn connect_at(
        &self,
        host: &Target,
        address: Option<IpAddr>,
        demand: Demand,
    ) -> Result<Session, Vec<Error>> {
        let mut driver = host.driver_at(address);
        let refusal = match self.log_in(host, driver.clone(), demand).await {
            Ok(session) => return Ok(session),
            Err(refusal) => refusal,
        };
        if driver.get_ssl_mode() != SslMode::Prefer || !refusal.is_of_encryption {
            return Err(vec![refusal.error]);
        }
        driver.ssl_mode(SslMode::Disable);
        let plain = self.log_in(host, driver, demand).await;
        plain.map_err(|plain| vec![refusal.error, plain.error])
    }

    async fn log_in(
        &self,
        host: &Target,
        driver: tokio_postgres::Config,
        demand: Demand,
    ) -> Result<Session, Refusal> {
        let session = self.login.to(&host.server, driver, demand);
        match timeout(self.connect_timeout, session).await {
            Ok(session) => session,
            Err(elapsed) => Err(self.silent(&host.server, elapsed).into()),
        }
    }
}

impl Target {
    /// Returns the addresses of the host; a socket of this machine has none.
    async fn addresses(&self) -> Result<Vec<Option<IpAddr>>, Error> {
        if self.endpoint.hostaddr.is_some() {
            return Ok(vec![self.endpoint.hostaddr]);
        }
        let Host::Tcp(name) = &self.endpoint.host else { return Ok(vec![None]) };
        let unknown = |fault: BoxError| {
            let reason = "its name stands for no address that can be connected to: check the host";
            let reason = reason.to_owned();
            unreachable(&self.server, ConnectionFailure::Unreachable, reason, fault)
        };
        let found = lookup_host((name.as_str(), self.endpoint.port)).await;
        let found = found.map_err(|fault| unknown(fault.into()))?;
        // The driver would lose the zone.
        let has_zone =
            |found: &SocketAddr| matches!(found, SocketAddr::V6(one) if one.scope_id() > 0);
        let found = found.filter(|found| !has_zone(found));
        let addresses: Vec<_> = found.map(|found| Some(found.ip())).collect();
        match addresses.is_empty() {
            true => Err(unknown("each of its addresses needs a zone".into())),
            false => Ok(addresses),
        }
    }

    /// Returns the driver's settings for one address. The host's name is what a certificate is
    /// checked for. A directory with an address is no socket: as for libpq, the address counts.
    fn driver_at(&self, address: Option<IpAddr>) -> tokio_postgres::Config {
        let mut driver = self.driver.clone();
        driver.port(self.endpoint.port);
        match &self.endpoint.host {
            #[cfg(unix)]
            Host::Unix(directory) if self.endpoint.is_local_socket() => driver.host_path(directory),
            _ => driver.host(self.endpoint.host()),
        };
        if let Some(address) = address {
            driver.hostaddr(address);
        }
        // As for libpq: nobody listens in on a socket of this machine, and it offers no encryption.
        if self.endpoint.is_local_socket() {
            driver.ssl_mode(SslMode::Disable);
        }
        driver
    }
}

/// Returns what a store asks of a server, in the order in which to ask for it.
fn demands(role: Role, demand: Demand) -> Result<&'static [Demand], Error> {
    match (role, demand) {
        (Role::Primary, Demand::Any | Demand::Primary | Demand::ReadWrite) => {
            Ok(&[Demand::ReadWrite])
        }
        (Role::Primary, _) => Err(Error::invalid_config(
            "url",
            "target_session_attrs asks for a server that takes no writes: leave it out, since a \
             read-write store works on the server that takes them",
        )),
        (Role::Replica, Demand::PreferStandby) => Ok(&[Demand::Standby, Demand::Any]),
        (Role::Replica, Demand::Any) => Ok(&[Demand::Any]),
        (Role::Replica, Demand::Primary) => Ok(&[Demand::Primary]),
        (Role::Replica, Demand::ReadOnly) => Ok(&[Demand::ReadOnly]),
        (Role::Replica, Demand::ReadWrite) => Ok(&[Demand::ReadWrite]),
        (Role::Replica, Demand::Standby) => Ok(&[Demand::Standby]),
    }
}

fn set_defaults(driver: &mut tokio_postgres::Config, role: Role) {
    if driver.get_keepalives_idle() == UNSET_KEEPALIVES_IDLE {
        driver.keepalives_idle(sql::PROBE_AFTER);
    }
    if driver.get_keepalives_interval().is_none() {
        driver.keepalives_interval(sql::PROBE_EVERY);
    }
    if driver.get_keepalives_retries().is_none() {
        driver.keepalives_retries(sql::PROBES);
    }
    if driver.get_application_name().is_none() {
        driver.application_name(format!("eddyline {role}"));
    }
}

/// Returns the failure that says most of what to do: one that may pass, if there is one, and else the
/// first. It notes the others.
fn most_telling(mut failures: Vec<Error>) -> Option<Error> {
    let passing = failures.iter().rposition(|failure| failure.class().is_retryable());
    let told = passing.or(failures.first().map(|_| 0))?;
    let told = failures.remove(told);
    Some(told.noting(&failures))
}

fn unreachable(
    server: &Server,
    failure: ConnectionFailure,
    reason: String,
    source: impl Into<BoxError>,
) -> Error {
    let class = Class::of(Failure::Connection(failure), server.at(Phase::Connect));
    let (server, reason) = (server.to_string(), reason.into());
    Error::Unreachable { server, reason, class, source: cause(source) }
}

const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// What the driver takes if an address does not say.
const UNSET_KEEPALIVES_IDLE: Duration = Duration::from_secs(2 * 60 * 60);

#[cfg(test)]
mod tests;

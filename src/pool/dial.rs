use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::timeout;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use super::attempt::{Addresses, Attempt, FailureClock, LastFailure};
use super::log_identity::{LogIdentity, NewestPrimary};
use super::login::{Login, Refusal};
use super::session::Session;
use super::session_settings::SessionSettings;
use crate::address::{Address, Endpoint, TargetSession};
use crate::error::{BoxError, cause};
use crate::error::{ConnectionFailure, Failure, Phase};
use crate::server::Server;
use crate::{Class, Config, Error, Role, sql, tls};

/// A dialer of connections to the server of an address: the first of its hosts, at the first of the
/// host's IP addresses, that answers and is in the requested state.
pub(super) struct Dialer {
    server: Arc<Server>,
    hosts: Arc<Hosts>,
    /// The accepted states of the server, in the order of preference.
    targets: &'static [TargetSession],
    is_shuffled: bool,
    connect_timeout: Duration,
    login: Login,
}

/// The hosts of an address. All dialers of a pool share them, so that each knows the failures of
/// all.
struct Hosts {
    hosts: Vec<DialedHost>,
    clock: FailureClock,
    /// How many promotions were noted when a new primary was preferred last.
    preferred_promotions: AtomicU32,
}

/// A host of the address, with the results of the last attempts.
struct DialedHost {
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
        settings: Arc<SessionSettings>,
        identity: Arc<LogIdentity>,
    ) -> Result<Self, Error> {
        let targets = targets(server.role, address.target_session)?;
        let driver = driver_settings(config, address, server.role);
        let hosts = address.endpoints.iter().map(|endpoint| DialedHost {
            endpoint: endpoint.clone(),
            server: Arc::new(server.at_endpoint(endpoint)),
            driver: driver.clone(),
            addresses: Addresses::default(),
            last_failure: LastFailure::default(),
        });
        let hosts: Vec<_> = hosts.collect();
        for host in hosts.iter().filter(|host| !host.endpoint.is_local_socket()) {
            tls::check(config, address, &driver, &host.endpoint)?;
        }
        Ok(Self {
            hosts: Arc::new(Hosts {
                hosts,
                clock: FailureClock::default(),
                preferred_promotions: AtomicU32::new(0),
            }),
            targets,
            is_shuffled: address.is_shuffled,
            connect_timeout: config
                .connect_timeout
                .or(address.connect_timeout)
                .unwrap_or(DEFAULT_CONNECT_TIMEOUT),
            login: Login::new(config, address, settings, identity)?,
            server,
        })
    }

    /// Returns a dialer to the same hosts with other session settings.
    pub(super) fn with_settings(&self, settings: Arc<SessionSettings>) -> Self {
        Self {
            server: self.server.clone(),
            hosts: self.hosts.clone(),
            targets: self.targets,
            is_shuffled: self.is_shuffled,
            connect_timeout: self.connect_timeout,
            login: self.login.with_settings(settings),
        }
    }

    pub(super) fn identity(&self) -> &Arc<LogIdentity> {
        self.login.identity()
    }

    /// Opens a connection. Each IP address gets the whole connect timeout.
    ///
    /// After a promotion it begins anew with the promoted server, whatever the old primary does.
    pub(super) async fn connect(&self) -> Result<Session, Error> {
        if !self.targets.iter().all(|target| target.is_primary()) {
            return self.connect_to_any().await;
        }
        let mut newest = self.identity().newest();
        loop {
            self.hosts.prefer(&newest.borrow_and_update());
            tokio::select! {
                biased;
                connected = self.connect_to_any() => return connected,
                _ = newest.changed() => {}
            }
        }
    }

    async fn connect_to_any(&self) -> Result<Session, Error> {
        let mut failures = Vec::new();
        for target in self.targets {
            for host in self.in_order() {
                let attempt = Attempt::new(&self.hosts.clock, &host.last_failure);
                match self.connect_to(host, *target).await {
                    Ok(session) => {
                        attempt.succeed();
                        return Ok(session);
                    }
                    Err(failed) => failures.extend(failed),
                }
            }
        }
        Err(most_helpful(failures).unwrap_or_else(|| self.timed_out("it has no address")))
    }

    /// Waits for the first answers on a new connection for at most the connect timeout.
    pub(super) async fn with_connect_timeout<T>(
        &self,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        match timeout(self.connect_timeout, answer).await {
            Ok(answer) => answer,
            Err(elapsed) => Err(self.timed_out(elapsed)),
        }
    }

    /// Returns the error of a server that did not answer in time.
    pub(super) fn timed_out(&self, elapsed: impl Into<BoxError>) -> Error {
        self.no_answer(&self.server, elapsed)
    }

    fn no_answer(&self, server: &Server, elapsed: impl Into<BoxError>) -> Error {
        let reason = format!(
            "it did not answer within {:?}: check the host, the port and the network",
            self.connect_timeout
        );
        unreachable(server, ConnectionFailure::TimedOut, reason, elapsed)
    }

    /// Returns the hosts in the order in which to try them. Hosts whose last attempt failed come
    /// last, the longest ago first.
    fn in_order(&self) -> Vec<&DialedHost> {
        let mut hosts: Vec<_> = self.hosts.hosts.iter().collect();
        if self.is_shuffled {
            fastrand::shuffle(&mut hosts);
        }
        hosts.sort_by_cached_key(|host| host.last_failure.rank());
        hosts
    }

    /// Resolves a host, and tries its IP addresses one after the other.
    async fn connect_to(
        &self,
        host: &DialedHost,
        target: TargetSession,
    ) -> Result<Session, Vec<Error>> {
        let addresses = match timeout(self.connect_timeout, host.addresses()).await {
            Ok(addresses) => addresses,
            Err(elapsed) => Err(self.no_answer(&host.server, elapsed)),
        };
        let addresses = addresses.map_err(|failure| vec![failure])?;
        self.connect_to_one_of(host, addresses, target).await
    }

    /// Tries the IP addresses of a host one after the other. Addresses whose last attempt failed
    /// come last, so that a new connection does not wait again for an address that does not answer.
    async fn connect_to_one_of(
        &self,
        host: &DialedHost,
        addresses: Vec<Option<IpAddr>>,
        target: TargetSession,
    ) -> Result<Session, Vec<Error>> {
        let mut failures = Vec::new();
        for (address, last_failure) in host.addresses.in_order(addresses) {
            let attempt = Attempt::new(&self.hosts.clock, &last_failure);
            match self.connect_at(host, address, target).await {
                Ok(session) => {
                    attempt.succeed();
                    return Ok(session);
                }
                Err(failed) => failures.extend(failed),
            }
        }
        Err(failures)
    }

    /// Connects to one IP address. If encryption is only preferred and fails, connects without it.
    async fn connect_at(
        &self,
        host: &DialedHost,
        address: Option<IpAddr>,
        target: TargetSession,
    ) -> Result<Session, Vec<Error>> {
        let mut driver = host.driver_at(address);
        let refusal = match self.log_in(host, driver.clone(), target).await {
            Ok(session) => return Ok(session),
            Err(refusal) => refusal,
        };
        if driver.get_ssl_mode() != SslMode::Prefer || !refusal.may_succeed_unencrypted {
            return Err(vec![refusal.error]);
        }
        driver.ssl_mode(SslMode::Disable);
        let plain = self.log_in(host, driver, target).await;
        plain.map_err(|plain| vec![refusal.error, plain.error])
    }

    async fn log_in(
        &self,
        host: &DialedHost,
        driver: tokio_postgres::Config,
        target: TargetSession,
    ) -> Result<Session, Refusal> {
        let session = self.login.connect(&host.server, driver, target);
        match timeout(self.connect_timeout, session).await {
            Ok(session) => session,
            Err(elapsed) => Err(self.no_answer(&host.server, elapsed).into()),
        }
    }
}

impl Hosts {
    /// Prefers a newly promoted primary to the other hosts, as if their last attempts had failed.
    fn prefer(&self, newest: &NewestPrimary) {
        let promotions = newest.promotions;
        if self.preferred_promotions.fetch_max(promotions, Ordering::Relaxed) >= promotions {
            return;
        }
        for host in &self.hosts {
            let attempt = Attempt::new(&self.clock, &host.last_failure);
            if newest.is_at(&host.server) {
                attempt.succeed();
            }
        }
    }
}

impl DialedHost {
    /// Returns the IP addresses of the host. A Unix-domain socket has the single address `None`.
    async fn addresses(&self) -> Result<Vec<Option<IpAddr>>, Error> {
        if self.endpoint.hostaddr.is_some() {
            return Ok(vec![self.endpoint.hostaddr]);
        }
        let Host::Tcp(name) = &self.endpoint.host else { return Ok(vec![None]) };
        let unresolved = |source: BoxError| {
            let reason = "its name stands for no address that can be connected to: check the host";
            let reason = reason.to_owned();
            unreachable(&self.server, ConnectionFailure::Unreachable, reason, source)
        };
        let found = lookup_host((name.as_str(), self.endpoint.port)).await;
        let found = found.map_err(|error| unresolved(error.into()))?;
        // The driver would drop the zone.
        let has_zone =
            |found: &SocketAddr| matches!(found, SocketAddr::V6(found) if found.scope_id() > 0);
        let found = found.filter(|found| !has_zone(found));
        let addresses: Vec<_> = found.map(|found| Some(found.ip())).collect();
        match addresses.is_empty() {
            true => Err(unresolved("each of its addresses needs a zone".into())),
            false => Ok(addresses),
        }
    }

    /// Returns the driver's settings for one IP address. The server's certificate is checked for
    /// the host's name. As for libpq, a directory with a `hostaddr` is not a socket: the `hostaddr`
    /// counts.
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
        // As for libpq: PostgreSQL offers no encryption on Unix-domain sockets, which need none.
        if self.endpoint.is_local_socket() {
            driver.ssl_mode(SslMode::Disable);
        }
        driver
    }
}

/// Returns the accepted states of a server, in the order of preference.
fn targets(role: Role, target: TargetSession) -> Result<&'static [TargetSession], Error> {
    use TargetSession::{Any, PreferStandby, Primary, ReadOnly, ReadWrite, Standby};
    match (role, target) {
        (Role::Primary, Any | Primary | ReadWrite) => Ok(&[ReadWrite]),
        (Role::Primary, PreferStandby | ReadOnly | Standby) => Err(Error::invalid_config(
            "url",
            "target_session_attrs asks for a server that accepts no writes: leave it out, because \
             a read-write store uses the server that accepts them",
        )),
        (Role::Replica, PreferStandby) => Ok(&[Standby, Any]),
        (Role::Replica, Any) => Ok(&[Any]),
        (Role::Replica, Primary) => Ok(&[Primary]),
        (Role::Replica, ReadOnly) => Ok(&[ReadOnly]),
        (Role::Replica, ReadWrite) => Ok(&[ReadWrite]),
        (Role::Replica, Standby) => Ok(&[Standby]),
    }
}

/// Returns the settings that all hosts of an address share.
fn driver_settings(config: &Config, address: &Address, role: Role) -> tokio_postgres::Config {
    let mut driver = address.driver.clone();
    tls::apply(config.tls.as_ref(), &mut driver);
    if role == Role::Replica {
        // The driver checks it before the store sets the session to read-only.
        driver.target_session_attrs(match address.target_session {
            TargetSession::ReadOnly => TargetSessionAttrs::ReadOnly,
            TargetSession::ReadWrite => TargetSessionAttrs::ReadWrite,
            _ => TargetSessionAttrs::Any,
        });
    }
    set_defaults(&mut driver, role);
    driver
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

/// Returns the failure that helps most: the last retryable one if there is one, otherwise the
/// first. It mentions the others.
fn most_helpful(mut failures: Vec<Error>) -> Option<Error> {
    let retryable = failures.iter().rposition(|failure| failure.class().is_retryable());
    let chosen = retryable.or(failures.first().map(|_| 0))?;
    let chosen = failures.remove(chosen);
    Some(chosen.noting(&failures))
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
/// The driver's default, by which an unset value is recognized.
const UNSET_KEEPALIVES_IDLE: Duration = Duration::from_secs(2 * 60 * 60);

#[cfg(test)]
mod tests;

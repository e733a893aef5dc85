mod check;
mod fallback;
mod pooler;
mod queue_full;
mod replica;
mod replicas;
mod tls;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use self::fallback::Fallback;
pub use self::pooler::Pooler;
pub use self::queue_full::QueueFull;
pub use self::replica::Replica;
pub use self::tls::Tls;
use crate::address::{Address, ClientCertificate};
use crate::telemetry::{StoreTelemetry, Telemetry};
use crate::{Error, RetryPolicy, Role};

/// The servers and the name of a log, and the settings of a store.
///
/// Only the address is required; every setting has a default. Values are checked when a store
/// connects.
///
/// ```
/// use std::time::Duration;
/// use eddyline::Config;
///
/// let config = Config::new("postgres://replica-a/library")?
///     .replica("postgres://replica-b/library")?
///     .log("loans")
///     .max_connections(32)
///     .acquire_timeout(Duration::from_secs(2));
/// # Ok::<(), eddyline::Error>(())
/// ```
///
/// `Config::try_from` converts a [`tokio_postgres::Config`].
#[derive(Clone)]
#[must_use]
pub struct Config {
    pub(crate) servers: Vec<Replica>,
    pub(crate) primary: Option<(Address, Fallback)>,
    pub(crate) schema: String,
    pub(crate) log: String,
    pub(crate) tls: Option<Tls>,
    client_certificate: Option<ClientCertificate>,
    pub(crate) pooler: Pooler,
    pub(crate) max_connections: u32,
    pub(crate) acquire_timeout: Duration,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) statement_timeout: Duration,
    pub(crate) decision_timeout: Duration,
    pub(crate) lock_timeout: Duration,
    pub(crate) max_batch: usize,
    pub(crate) append_queue: usize,
    pub(crate) queue_full: QueueFull,
    pub(crate) linger: Duration,
    pub(crate) replica_timeout: Duration,
    pub(crate) watch_interval: Duration,
    pub(crate) retry: RetryPolicy,
    pub(crate) telemetry: Option<Telemetry>,
    name: Option<String>,
}

impl Config {
    /// Creates a configuration from the address of a server: the primary for a read-write store, a
    /// replica for a read-only store.
    ///
    /// The address has a format of `libpq`: a URL (`postgres://user:password@host:5432/database`)
    /// or a list of names and values (`host=localhost dbname=library`). `docs/connections.md` lists
    /// the parameters. A parameter that a store does not honor is refused, never ignored.
    ///
    /// The address may name several hosts (`postgres://host-a,host-b/library`), and a host's name
    /// may resolve to several IP addresses. A read-write store uses the host that accepts writes,
    /// and watches the others. It goes to the new primary after a promotion, also if the old one
    /// still takes writes. A host that does not answer is tried after the others until it answers
    /// again.
    ///
    /// ```
    /// use eddyline::Config;
    ///
    /// let url = Config::new("postgres://ada:shelf-mark@host-a,host-b/library?sslmode=require")?;
    /// let list = Config::new("host=localhost dbname=library password='with a blank'")?;
    /// assert!(Config::new("postgres://localhost/library?color=blue").is_err());
    /// # Ok::<(), eddyline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if the address cannot be parsed, names no host, or has a parameter
    /// that is not honored. The error names the parameter and the alternative. It contains no part
    /// of the address that could be a piece of a password.
    pub fn new(url: &str) -> Result<Self, Error> {
        Ok(Replica::new(url)?.into())
    }

    fn with_server(server: Replica) -> Self {
        Self {
            servers: vec![server],
            primary: None,
            schema: "public".to_owned(),
            log: "events".to_owned(),
            tls: None,
            client_certificate: None,
            pooler: Pooler::None,
            max_connections: 16,
            acquire_timeout: Duration::from_secs(5),
            connect_timeout: None,
            statement_timeout: Duration::from_secs(30),
            decision_timeout: Duration::from_secs(2),
            lock_timeout: Duration::from_secs(10),
            max_batch: 256,
            append_queue: 4_096,
            queue_full: QueueFull::Wait,
            linger: Duration::ZERO,
            replica_timeout: Duration::from_secs(2),
            watch_interval: Duration::from_secs(1),
            retry: RetryPolicy::default(),
            telemetry: None,
            name: None,
        }
    }

    /// Sets the schema of the log. Defaults to `public`.
    ///
    /// ```
    /// use eddyline::Config;
    ///
    /// let config = Config::new("postgres://primary/library")?.schema("branch_1").log("loans");
    /// # Ok::<(), eddyline::Error>(())
    /// ```
    pub fn schema(self, schema: impl Into<String>) -> Self {
        Self { schema: schema.into(), ..self }
    }

    /// Sets the name of the log, which is the name of its table. Defaults to `events`. A database
    /// may contain any number of logs.
    pub fn log(self, log: impl Into<String>) -> Self {
        Self { log: log.into(), ..self }
    }

    /// Sets the encryption of connections. Defaults to `sslmode` in the address, or else to
    /// [`Tls::Prefer`].
    ///
    /// It overrides `sslmode` and `sslrootcert`.
    ///
    /// ```
    /// use eddyline::{Config, Tls};
    ///
    /// let config = Config::new("postgres://primary.example/library")?.tls(Tls::VerifySystem);
    /// # Ok::<(), eddyline::Error>(())
    /// ```
    pub fn tls(self, tls: Tls) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// Sets the certificate by which the store identifies itself to the server, and its private
    /// key. Defaults to `sslcert` and `sslkey` in the address, or else to none.
    ///
    /// Both are PEM files. The first contains the certificate, followed by its intermediate
    /// certificates; the second a private key that is not encrypted. The certificate is sent over
    /// encrypted connections if the server asks for it, as with the authentication method `cert` or
    /// the option `clientcert` in `pg_hba.conf`. A password may be required in addition.
    ///
    /// ```
    /// use eddyline::{Config, Tls};
    ///
    /// let config = Config::new("postgres://ada@primary.example/library")?
    ///     .tls(Tls::Verify { ca_file: "ca.pem".into() })
    ///     .client_certificate("ada.pem", "ada.key");
    /// # Ok::<(), eddyline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Connecting fails with [`Error::InvalidConfig`], which names the file, if a file cannot be
    /// used, if the key does not belong to the certificate, or if encryption is disabled.
    pub fn client_certificate(
        self,
        cert_file: impl Into<PathBuf>,
        key_file: impl Into<PathBuf>,
    ) -> Self {
        let (cert_file, key_file) = (cert_file.into(), key_file.into());
        let setting = "client_certificate";
        Self {
            client_certificate: Some(ClientCertificate { cert_file, key_file, setting }),
            ..self
        }
    }

    /// Sets the kind of connection pooler between the store and its servers. Defaults to
    /// [`Pooler::None`].
    pub fn pooler(self, pooler: Pooler) -> Self {
        Self { pooler, ..self }
    }

    /// Sets the maximum number of connections to each server, without the append connections.
    /// Defaults to 16.
    ///
    /// A decision under the log's lock holds one connection, and so does a stream until it ends. A
    /// read-write store has further connections for appends: one from the start, and up to four if
    /// one is stuck.
    pub fn max_connections(self, connections: u32) -> Self {
        Self { max_connections: connections, ..self }
    }

    /// Sets how long each attempt of an operation waits for a connection from the pool. Defaults to
    /// 5 seconds.
    pub fn acquire_timeout(self, timeout: Duration) -> Self {
        Self { acquire_timeout: timeout, ..self }
    }

    /// Sets how long an attempt to connect to one IP address may take. Defaults to
    /// `connect_timeout` in the server's address, or else to 5 seconds.
    ///
    /// Each host, and each IP address of a host, gets the whole timeout.
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        Self { connect_timeout: Some(timeout), ..self }
    }

    /// Sets how long a decision that holds the log's lock may take, and then the arrival of its
    /// events at the server. Defaults to 2 seconds.
    ///
    /// A decision takes the lock after as many conflicts as
    /// [`escalate_after`](crate::retry::RetryPolicyBuilder::escalate_after) allows. All other
    /// appends wait meanwhile. If the decision takes longer, [`decide`](crate::Store::decide) fails
    /// with [`Error::DecisionTimedOut`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use eddyline::Config;
    ///
    /// let config = Config::new("postgres://primary/library")?
    ///     .statement_timeout(Duration::from_secs(10))
    ///     .lock_timeout(Duration::from_secs(3))
    ///     .decision_timeout(Duration::from_millis(500));
    /// # Ok::<(), eddyline::Error>(())
    /// ```
    pub fn decision_timeout(self, timeout: Duration) -> Self {
        Self { decision_timeout: timeout, ..self }
    }

    /// Sets how long the server may work on a statement, and so how long a stream may take.
    /// Defaults to 30 seconds.
    pub fn statement_timeout(self, timeout: Duration) -> Self {
        Self { statement_timeout: timeout, ..self }
    }

    /// Sets how long each attempt of an append waits for the log's lock. Defaults to 10 seconds.
    /// The wait is also limited to three quarters of the time that an attempt may take.
    pub fn lock_timeout(self, timeout: Duration) -> Self {
        Self { lock_timeout: timeout, ..self }
    }

    /// Sets the maximum number of appends in a batch, which share one transaction. Defaults to 256.
    /// With 1, each append has a transaction of its own.
    ///
    /// Appends that arrive while a batch is under way wait, and form the next batch. The condition
    /// of each is checked individually, and an append that the server refuses fails alone. An
    /// append of more than 64 kB of JSON or 256 events is never batched.
    ///
    /// ```
    /// use std::time::Duration;
    /// use eddyline::Config;
    ///
    /// let config = Config::new("postgres://primary/library")?
    ///     .max_batch(64)
    ///     .linger(Duration::from_millis(1));
    /// # Ok::<(), eddyline::Error>(())
    /// ```
    pub fn max_batch(self, appends: usize) -> Self {
        Self { max_batch: appends, ..self }
    }

    /// Sets the maximum number of appends in the queue, which wait to be sent. Defaults to 4,096.
    pub fn append_queue(self, appends: usize) -> Self {
        Self { append_queue: appends, ..self }
    }

    /// Sets the behavior of an append that finds the queue full. Defaults to [`QueueFull::Wait`].
    pub fn queue_full(self, queue_full: QueueFull) -> Self {
        Self { queue_full, ..self }
    }

    /// Sets how long an append waits for further appends to join its batch if no other batch is
    /// under way. Defaults to zero. While a batch is under way, appends form the next batch in any
    /// case.
    pub fn linger(self, linger: Duration) -> Self {
        Self { linger, ..self }
    }

    /// Sets which failures are retried, how often, and after which pauses. Defaults to
    /// [`RetryPolicy::default`].
    ///
    /// The policy's attempt timeout and deadline limit every call of the store, also if a server
    /// does not answer.
    ///
    /// ```
    /// use eddyline::{Config, RetryPolicy};
    ///
    /// let config = Config::new("postgres://primary/library")?.retry(RetryPolicy::never());
    /// # Ok::<(), eddyline::Error>(())
    /// ```
    pub fn retry(self, policy: RetryPolicy) -> Self {
        Self { retry: policy, ..self }
    }

    /// Sets the destination of metrics and traces. Defaults to OpenTelemetry's global providers, as
    /// they are when a store connects.
    pub fn telemetry(self, telemetry: Telemetry) -> Self {
        Self { telemetry: Some(telemetry), ..self }
    }

    /// Sets the name of the store, the attribute `store` of its metrics and spans. Defaults to the
    /// name of the log. Name the stores of a process that work on logs of the same name.
    ///
    /// ```
    /// use eddyline::Config;
    ///
    /// let config = Config::new("postgres://primary/branch_1")?.log("loans").name("branch 1");
    /// # Ok::<(), eddyline::Error>(())
    /// ```
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Returns the telemetry of a store with this configuration.
    pub(crate) fn store_telemetry(&self, role: Role) -> StoreTelemetry {
        let telemetry = self.telemetry.clone().unwrap_or_default();
        telemetry.of_store(self.name.as_ref().unwrap_or(&self.log), role)
    }

    /// Returns the lock timeout of append connections. It is at most three quarters of the time of
    /// an attempt, so that the attempt receives the server's answer that the lock timed out.
    pub(crate) fn append_lock_timeout(&self) -> Duration {
        let attempt = self.retry.attempt_timeout().into_iter().chain(self.retry.deadline()).min();
        let allowed = attempt.map(|attempt| (attempt / 4 * 3).max(Duration::from_millis(1)));
        allowed.map_or(self.lock_timeout, |allowed| allowed.min(self.lock_timeout))
    }

    /// Returns the client certificate for the server of an address.
    pub(crate) fn client_certificate_for<'a>(
        &'a self,
        address: &'a Address,
    ) -> Option<&'a ClientCertificate> {
        self.client_certificate.as_ref().or(address.client_certificate.as_ref())
    }
}

/// Converts the driver's configuration, of version 0.7 of `tokio-postgres`.
///
/// The same rules apply as for the address of [`Config::new`]: every value is honored or refused,
/// none is ignored. That is why the conversion can fail. A configuration without a host is refused,
/// and so are zero timeouts, keepalive times that are not whole seconds, and relative directories
/// of sockets. The driver's default of two hours for `keepalives_idle` counts as not set.
///
/// ```
/// use eddyline::Config;
///
/// let mut driver = tokio_postgres::Config::new();
/// driver.host("primary.example").user("ada").password("shelf-mark").dbname("library");
/// let config = Config::try_from(driver)?.log("loans");
///
/// // It names no host.
/// assert!(Config::try_from(tokio_postgres::Config::new()).is_err());
/// # Ok::<(), eddyline::Error>(())
/// ```
impl TryFrom<tokio_postgres::Config> for Config {
    type Error = Error;

    /// Converts the driver's configuration.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] of the setting `tokio_postgres::Config`. It names the value that
    /// cannot be honored, and contains no password.
    fn try_from(driver: tokio_postgres::Config) -> Result<Self, Error> {
        Ok(Replica::from(Address::from_driver(&driver)?).into())
    }
}

impl From<Replica> for Config {
    /// Makes a configuration whose first server is this one.
    fn from(server: Replica) -> Self {
        Self::with_server(server)
    }
}

/// Formats the configuration without the addresses, which may contain a password.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("servers", &self.servers.len())
            .field("schema", &self.schema)
            .field("log", &self.log)
            .field("tls", &self.tls)
            .field("pooler", &self.pooler)
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}

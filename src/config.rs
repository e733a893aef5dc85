use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::address::Address;
use crate::log_name::LogName;
use crate::{Error, RetryPolicy, Telemetry};

/// The encryption of connections to servers.
///
/// Connections by a socket of the same machine are never encrypted, whatever the setting says. If
/// the server's identity is not checked, any certificate is taken, with a key of RSA, of ECDSA on
/// P-256 or P-384, or of Ed25519.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Tls {
    /// No encryption.
    Disable,
    /// Encryption if the server offers it; the server's identity is not checked.
    ///
    /// If the handshake fails, or the server lets the role in without encryption only, the
    /// connection is made in plain text.
    Prefer,
    /// Encryption, or no connection; the server's identity is not checked.
    Require,
    /// Encryption, or no connection; the server must show a certificate for its host name. If the
    /// address names only `hostaddr`, the certificate must name that address. A `hostaddr` with the
    /// directory of a socket as its `host` is refused.
    Verify {
        /// A file in PEM format with the certificates of the authorities that are trusted.
        ca_file: PathBuf,
    },
}

/// Says who stands between a store and its servers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Pooler {
    /// Nobody, or a pooler that gives a client a server's process of its own, for as long as it is
    /// connected.
    #[default]
    None,
    /// A pooler that gives a server's process to another client after each transaction, as PgBouncer
    /// does with `pool_mode = transaction`.
    ///
    /// The store leaves nothing behind there then: it prepares no statement under a name, and its
    /// settings end with their transaction. A read takes one round trip all the same, but is planned
    /// each time. The pooler itself has to notice clients and servers that are gone.
    Transaction,
}

/// Says what becomes of an append that finds the queue full.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum QueueFull {
    /// It fails at once, with [`Error::QueueFull`].
    Refuse,
    /// It waits for a place, for as long as its attempt may take.
    Wait,
}

/// Says where a log is and how to work with it.
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
#[derive(Clone)]
#[must_use]
pub struct Config {
    pub(crate) servers: Vec<Address>,
    pub(crate) schema: String,
    pub(crate) log: String,
    pub(crate) tls: Option<Tls>,
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
    pub(crate) retry: RetryPolicy,
    pub(crate) telemetry: Telemetry,
}

impl Config {
    /// Names the server: the primary for a read-write store, a replica for a read-only one.
    ///
    /// The address is a URL (`postgres://user:password@host:5432/database`) or a list of pairs
    /// (`host=localhost dbname=library`), as `libpq` takes them. `docs/connections.md` lists the
    /// parameters that it may have. A parameter that a store does not honour is refused, never
    /// ignored.
    ///
    /// The address may name several hosts (`postgres://host-a,host-b/library`), and a host's name may
    /// stand for several addresses. A read-write store works on the one that takes writes, and finds
    /// the new one after a promotion. A host that does not answer is asked after the others from then
    /// on, until it answers again.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if the address cannot be read, names no host, or has a parameter that
    /// is not honoured. The error says which parameter, and what to set instead. It repeats nothing
    /// that may be a piece of a password.
    pub fn new(url: &str) -> Result<Self, Error> {
        Ok(Self {
            servers: vec![Address::parse(url)?],
            schema: "public".to_owned(),
            log: "events".to_owned(),
            tls: None,
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
            retry: RetryPolicy::default(),
            telemetry: Telemetry::default(),
        })
    }

    /// Adds a replica for a read-only store to spread its reads over.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn replica(mut self, url: &str) -> Result<Self, Error> {
        self.servers.push(Address::parse(url)?);
        Ok(self)
    }

    /// Sets the schema that the log is in. Defaults to `public`.
    pub fn schema(self, schema: impl Into<String>) -> Self {
        Self { schema: schema.into(), ..self }
    }

    /// Sets the name of the log. Defaults to `events`. A database may hold any number of logs.
    pub fn log(self, log: impl Into<String>) -> Self {
        Self { log: log.into(), ..self }
    }

    /// Sets how connections are encrypted. Defaults to what `sslmode` in the address says, and
    /// that to [`Tls::Prefer`].
    pub fn tls(self, tls: Tls) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// Sets who stands between the store and its servers. Defaults to [`Pooler::None`].
    pub fn pooler(self, pooler: Pooler) -> Self {
        Self { pooler, ..self }
    }

    /// Sets the most connections to each server, but for those that append. Defaults to 16.
    ///
    /// A decision under the log's lock holds one, and so does a stream until it ends. Appends have
    /// connections of their own: one from the moment that a read-write store has connected, and up to four
    /// if one stands still.
    pub fn max_connections(self, connections: u32) -> Self {
        Self { max_connections: connections, ..self }
    }

    /// Sets how long each attempt of an operation waits for a connection of the pool. Defaults to 5
    /// seconds.
    pub fn acquire_timeout(self, timeout: Duration) -> Self {
        Self { acquire_timeout: timeout, ..self }
    }

    /// Sets how long each address of a server may take until a connection to it is made. Defaults to
    /// `connect_timeout` in the server's address, and that to 5 seconds.
    ///
    /// Each host, and each address of a host's name, has this time for itself.
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        Self { connect_timeout: Some(timeout), ..self }
    }

    /// Sets how long a decision may take while it holds the log's lock, and then its events to arrive at
    /// the server. Defaults to 2 seconds.
    ///
    /// A decision takes the lock after it has lost as many rounds as
    /// [`escalate_after`](crate::retry::RetryPolicyBuilder::escalate_after) says. All other appends wait for it
    /// meanwhile. If it takes longer, [`decide`](crate::Store::decide) fails with
    /// [`Error::DecisionTimedOut`].
    pub fn decision_timeout(self, timeout: Duration) -> Self {
        Self { decision_timeout: timeout, ..self }
    }

    /// Sets how long the server works on a statement, and so how long a stream may take to be read.
    /// Defaults to 30 seconds.
    pub fn statement_timeout(self, timeout: Duration) -> Self {
        Self { statement_timeout: timeout, ..self }
    }

    /// Sets how long each attempt of an append waits for the log's lock, but no longer than three
    /// quarters of the time that an attempt may take. Defaults to 10 seconds.
    pub fn lock_timeout(self, timeout: Duration) -> Self {
        Self { lock_timeout: timeout, ..self }
    }

    /// Sets the most appends that one transaction stores. Defaults to 256; with 1 each append has
    /// one of its own.
    ///
    /// Appends that come while another one is under way wait, and go together then, each judged by
    /// itself. One that the server refuses fails alone. Those of more than 64 kB of JSON or 256
    /// events always go alone.
    pub fn max_batch(self, appends: usize) -> Self {
        Self { max_batch: appends, ..self }
    }

    /// Sets the most appends that wait to be sent. Defaults to 4,096.
    pub fn append_queue(self, appends: usize) -> Self {
        Self { append_queue: appends, ..self }
    }

    /// Sets what becomes of an append that finds as many waiting as may. Defaults to
    /// [`QueueFull::Wait`].
    pub fn queue_full(self, queue_full: QueueFull) -> Self {
        Self { queue_full, ..self }
    }

    /// Sets how long an append waits for others to join it, where none is under way. Defaults to
    /// zero: while one is under way others gather by themselves.
    pub fn linger(self, linger: Duration) -> Self {
        Self { linger, ..self }
    }

    /// Sets how long a read waits for a replica to reach the position that it asked for. Defaults
    /// to 2 seconds.
    pub fn replica_timeout(self, timeout: Duration) -> Self {
        Self { replica_timeout: timeout, ..self }
    }

    /// Sets what is tried again, how often, and after which pauses. Defaults to
    /// [`RetryPolicy::default`].
    ///
    /// Its attempt timeout and its deadline bound every call of the store, also where a server
    /// neither answers nor refuses.
    pub fn retry(self, policy: RetryPolicy) -> Self {
        Self { retry: policy, ..self }
    }

    /// Sets where metrics and traces go. Defaults to OpenTelemetry's global providers.
    pub fn telemetry(self, telemetry: Telemetry) -> Self {
        Self { telemetry, ..self }
    }

    /// Returns how long an append's connection waits for the log's lock: no longer than leaves an
    /// attempt the time to hear that it waited in vain.
    pub(crate) fn append_lock_timeout(&self) -> Duration {
        let attempt = self.retry.attempt_timeout().into_iter().chain(self.retry.deadline()).min();
        let allowed = attempt.map(|attempt| (attempt / 4 * 3).max(Duration::from_millis(1)));
        allowed.map_or(self.lock_timeout, |allowed| allowed.min(self.lock_timeout))
    }

    /// Checks what the setters took, and names the log.
    pub(crate) fn check(&self) -> Result<LogName, Error> {
        if self.max_connections == 0 {
            return Err(Error::invalid_config("max_connections", "is 0, the least is 1"));
        }
        for (setting, count) in [("max_batch", self.max_batch), ("append_queue", self.append_queue)]
        {
            if count == 0 || count > MAX_QUEUE {
                let reason = format!("is {count}, allowed are 1 to {MAX_QUEUE}");
                return Err(Error::invalid_config(setting, reason));
            }
        }
        if self.linger > MAX_LINGER {
            let reason = format!("is {:?}, the most is {MAX_LINGER:?}", self.linger);
            return Err(Error::invalid_config("linger", reason));
        }
        let connect_timeout = self.connect_timeout.map(|timeout| ("connect_timeout", timeout));
        for (setting, timeout) in connect_timeout.into_iter().chain([
            ("acquire_timeout", self.acquire_timeout),
            ("statement_timeout", self.statement_timeout),
            ("decision_timeout", self.decision_timeout),
            ("lock_timeout", self.lock_timeout),
            ("replica_timeout", self.replica_timeout),
        ]) {
            // The server takes milliseconds as an int, and 0 for no limit at all.
            if timeout < Duration::from_millis(1) || timeout > MAX_TIMEOUT {
                return Err(Error::invalid_config(
                    setting,
                    format!("is {timeout:?}, allowed are 1 ms to 24 days"),
                ));
            }
        }
        LogName::new(&self.schema, &self.log)
    }
}

/// Shows no address, which may hold a password.
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

const MAX_QUEUE: usize = 1 << 20;
const MAX_LINGER: Duration = Duration::from_secs(1);
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 24 * 60 * 60);

//! The cluster that tests share, a log for each test, and helpers.

mod connection_pooler;
mod fragile;
mod observer;
mod points;
#[cfg(feature = "tracing")]
mod records;
mod replicated;
mod secure;
mod triggers;

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use eddyline::{Config, Event, Filter, ReadOnly, ReadWrite, Schema, Store};
use local_postgres::Cluster;
use tokio::net::TcpSocket;
use tokio::sync::OnceCell;
use tokio_postgres::{Client, NoTls};

pub use self::connection_pooler::ConnectionPooler;
pub use self::fragile::Fragile;
pub use self::observer::{Observer, attribute, series};
pub use self::points::Point;
#[cfg(feature = "tracing")]
pub use self::records::{LogRecord, LogRecords};
pub use self::replicated::Replicated;
pub use self::secure::{MEMBER, PASSWORD, secure_server};
pub use self::triggers::{
    SLEEP, cancel_after_commits, log_that_runs, named, run_after_appends, run_after_commits,
    run_on_reads, sleeping_backend,
};

/// The database of all logs that do not need a database of their own.
const DATABASE: &str = "library";

/// Returns the shared cluster, which the first call starts. It ends with the process.
pub async fn cluster() -> &'static Cluster {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    CLUSTER
        .get_or_init(|| async {
            let cluster = Cluster::builder().standbys(1).fsync(false).start().await.unwrap();
            cluster.create_database(DATABASE).await.unwrap();
            cluster
        })
        .await
}

/// Starts a cluster for one test, with the log `events`, and waits until the standbys have it.
pub async fn cluster_with_log(standbys: usize) -> Cluster {
    let builder = Cluster::builder().standbys(standbys).fsync(false);
    let builder = builder.setting("wal_retrieve_retry_interval", "100ms");
    let cluster = builder.start().await.unwrap();
    let config = Config::new(&cluster.primary().url("postgres")).unwrap();
    Schema::new(&config).migrate().await.unwrap();
    cluster.wait_for_replay().await.unwrap();
    cluster
}

/// A log that no other test uses.
pub struct Log {
    pub name: String,
    database: String,
    cluster: &'static Cluster,
}

impl Log {
    /// Creates a log in the shared database.
    pub async fn new() -> Self {
        Self::in_database(DATABASE).await
    }

    /// Creates a log in a database of its own, for tests that change settings of the database.
    pub async fn isolated() -> Self {
        let database = format!("library_{}", next());
        cluster().await.create_database(&database).await.unwrap();
        Self::in_database(&database).await
    }

    /// Returns a log with a new name, without creating it.
    pub async fn missing() -> Self {
        let name = format!("log_{}", next());
        Self { name, database: DATABASE.to_owned(), cluster: cluster().await }
    }

    async fn in_database(database: &str) -> Self {
        let log = Self { database: database.to_owned(), ..Self::missing().await };
        Schema::new(&log.config()).migrate().await.unwrap();
        log
    }

    /// Returns the URL of the primary.
    pub fn primary_url(&self) -> String {
        self.cluster.primary().url(&self.database)
    }

    /// Returns the URL of the replica.
    pub fn replica_url(&self) -> String {
        self.cluster.standbys()[0].url(&self.database)
    }

    pub fn config(&self) -> Config {
        Config::new(&self.primary_url()).unwrap().log(&self.name)
    }

    pub fn replica_config(&self) -> Config {
        let config = Config::new(&self.replica_url()).unwrap().log(&self.name);
        config.replica_timeout(REPLAY_TIMEOUT)
    }

    /// Changes a setting of the log's database, for sessions that begin later.
    pub async fn set(&self, setting: &str) {
        let change = format!("ALTER DATABASE {} SET {setting}", self.database);
        self.sql().await.batch_execute(&change).await.unwrap();
    }

    pub async fn writer(&self) -> Store<ReadWrite> {
        Store::<ReadWrite>::connect(self.config()).await.unwrap()
    }

    /// Connects to the replica after it has replayed the log's creation.
    pub async fn reader(&self) -> Store<ReadOnly> {
        self.cluster.wait_for_replay().await.unwrap();
        Store::<ReadOnly>::connect(self.replica_config()).await.unwrap()
    }

    /// Returns the key of the log's advisory lock, as in `pg_locks`.
    pub async fn lock_key(&self) -> i64 {
        let table = format!("SELECT '{}'::regclass::oid::bigint", self.name);
        let oid: i64 = self.sql().await.query_one(&table, &[]).await.unwrap().get(0);
        0x0edd_1e5e << 32 | oid
    }

    /// Connects to the primary with `tokio_postgres` alone.
    pub async fn sql(&self) -> Client {
        connect(&self.primary_url()).await
    }

    /// Renders a plain INSERT of an event, as of a program that does not use the crate.
    pub fn insert(&self, book: &str) -> String {
        format!(
            "INSERT INTO {} (event_id, occurred_at, event_type, payload)
             VALUES (gen_random_uuid(), now(), 'BookCopyLentToReader', '{{\"BookID\": \"{book}\"}}')",
            self.name
        )
    }
}

/// Connects to a server with `tokio_postgres` alone.
pub async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A timeout that no test reaches.
pub const FOREVER: Duration = Duration::from_secs(60 * 60);

/// How long reads wait for a replica, which other tests may keep busy.
pub const REPLAY_TIMEOUT: Duration = Duration::from_secs(60);

/// Awaits a future that must not wait for a timeout of [`FOREVER`]. It has a minute, enough for a
/// busy machine.
pub async fn promptly<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(FOREVER / 60, future).await.expect("no wait for the timeout")
}

/// Returns the URL of a port that is not listened on and that stays reserved.
pub fn unreachable_url() -> String {
    format!("postgres://postgres@127.0.0.1:{}/library", closed_port())
}

/// Returns a port on which nothing listens, now or later.
pub fn closed_port() -> u16 {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let port = socket.local_addr().unwrap().port();
    std::mem::forget(socket);
    port
}

/// Returns the URL for another user, which may include a password: `name:password`.
pub fn as_user(url: &str, user: &str) -> String {
    url.replacen("postgres@", &format!("{user}@"), 1)
}

/// Returns the SQLSTATE of a statement that failed.
pub fn refusal<T>(outcome: Result<T, tokio_postgres::Error>) -> String {
    let error = outcome.err().expect("the server did not refuse");
    error.code().expect("an error of the server").code().to_owned()
}

/// Blocks on a future within a decision, which is not async.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(future))
}

/// Waits for a future as [`wait`] does, and then until this time has passed.
pub fn wait_at_least<T>(time: Duration, future: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let output = wait(future);
    std::thread::sleep(time.saturating_sub(began.elapsed()));
    output
}

/// Waits until a session waits for an advisory lock of the database of `sql`.
pub async fn wait_for_lock_waiter(sql: &Client, key: i64) {
    wait_for_lock_waiters(sql, key, 1).await;
}

/// Waits until `count` sessions wait for an advisory lock of the database of `sql`.
pub async fn wait_for_lock_waiters(sql: &Client, key: i64, count: usize) {
    let waiters = "SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = database
        WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted
        AND (classid::bigint << 32 | objid::bigint) = $1";
    wait_until(async || sql.query(waiters, &[&key]).await.unwrap().len() >= count).await;
}

/// Terminates the sessions of an application, waits until they have ended, and returns their
/// number.
pub async fn end_sessions(sql: &Client, application: &str) -> usize {
    let end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
        WHERE application_name = $1";
    sql.query(end, &[&application]).await.unwrap().len()
}

/// Polls a condition until it holds, and fails the test after 30 seconds.
pub async fn wait_until(condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition().await {
        assert!(Instant::now() < deadline, "the condition did not hold within 30 seconds");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Returns a number that is unique in this process.
pub fn next() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

pub fn lent(book: &str, reader: &str) -> Event {
    loan("BookCopyLentToReader", book, reader)
}

pub fn returned(book: &str, reader: &str) -> Event {
    loan("BookCopyReturnedByReader", book, reader)
}

fn loan(event_type: &str, book: &str, reader: &str) -> Event {
    Event::from_json(event_type, format!(r#"{{"BookID":"{book}","ReaderID":"{reader}"}}"#)).unwrap()
}

/// Returns a filter for the loans and returns of a book.
pub fn loans_of(book: &str) -> Filter {
    Filter::types(["BookCopyLentToReader", "BookCopyReturnedByReader"])
        .any_of([("BookID", book)])
        .build()
        .unwrap()
}

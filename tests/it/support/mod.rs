//! One cluster for all tests, and a log of its own for each.

mod fragile;
mod observer;
mod replicated;
mod secure;
mod transaction_pooler;
mod triggers;

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use eddyline::{Config, Event, Filter, ReadOnly, ReadWrite, Schema, Store};
use local_postgres::Cluster;
use tokio::net::TcpSocket;
use tokio::sync::OnceCell;
use tokio_postgres::{Client, NoTls};

pub use self::fragile::Fragile;
pub use self::observer::{Observer, attribute, series};
pub use self::replicated::Replicated;
pub use self::secure::{MEMBER, PASSWORD, secure_server};
pub use self::transaction_pooler::TransactionPooler;
pub use self::triggers::{
    SLEEP, asleep, cancel_after_commits, log_that_runs, named, run_after_appends,
    run_after_commits, run_on_reads,
};

/// The database of all logs that need no database of their own.
const DATABASE: &str = "library";

/// Returns the cluster, started by whichever test is first. It ends with the process.
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

/// A log that no other test uses.
pub struct Log {
    pub name: String,
    database: String,
    cluster: &'static Cluster,
}

impl Log {
    /// Makes a log in the common database.
    pub async fn new() -> Self {
        Self::in_database(DATABASE).await
    }

    /// Makes a log in a database of its own, for tests that change the database.
    pub async fn alone() -> Self {
        let database = format!("library_{}", next());
        cluster().await.create_database(&database).await.unwrap();
        Self::in_database(&database).await
    }

    /// Names a log that was not made.
    pub async fn missing() -> Self {
        let name = format!("log_{}", next());
        Self { name, database: DATABASE.to_owned(), cluster: cluster().await }
    }

    async fn in_database(database: &str) -> Self {
        let log = Self { database: database.to_owned(), ..Self::missing().await };
        Schema::new(&log.config()).migrate().await.unwrap();
        log
    }

    /// Returns the primary's address.
    pub fn primary_url(&self) -> String {
        self.cluster.primary().url(&self.database)
    }

    /// Returns the replica's address.
    pub fn replica_url(&self) -> String {
        self.cluster.standbys()[0].url(&self.database)
    }

    pub fn config(&self) -> Config {
        Config::new(&self.primary_url()).unwrap().log(&self.name)
    }

    pub fn replica_config(&self) -> Config {
        Config::new(&self.replica_url()).unwrap().log(&self.name)
    }

    pub async fn writer(&self) -> Store<ReadWrite> {
        Store::<ReadWrite>::connect(self.config()).await.unwrap()
    }

    /// Connects to the replica, once the log is there.
    pub async fn reader(&self) -> Store<ReadOnly> {
        self.cluster.wait_for_replay().await.unwrap();
        Store::<ReadOnly>::connect(self.replica_config()).await.unwrap()
    }

    /// Returns the key of the log's lock, as `pg_locks` shows it while an insert is open.
    pub async fn lock_key(&self) -> i64 {
        let table = format!("SELECT '{}'::regclass::oid::bigint", self.name);
        let oid: i64 = self.sql().await.query_one(&table, &[]).await.unwrap().get(0);
        0x0edd_1e5e << 32 | oid
    }

    /// Connects to the primary without the crate.
    pub async fn sql(&self) -> Client {
        connect(&self.primary_url()).await
    }

    /// Renders an insert as someone types it who does not use the crate.
    pub fn insert(&self, book: &str) -> String {
        format!(
            "INSERT INTO {} (event_id, occurred_at, event_type, payload)
             VALUES (gen_random_uuid(), now(), 'BookCopyLentToReader', '{{\"BookID\": \"{book}\"}}')",
            self.name
        )
    }
}

/// Connects to a server without the crate.
pub async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A limit that no test waits for.
pub const FOREVER: Duration = Duration::from_secs(60 * 60);

/// Waits for what must not wait for a limit of [`FOREVER`]. A busy machine has a minute for it.
pub async fn promptly<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(FOREVER / 60, future).await.expect("what does not wait for the limit")
}

/// Returns an address that nobody listens at, and that nobody else is given.
pub fn nowhere() -> String {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let url = format!("postgres://postgres@{}/library", socket.local_addr().unwrap());
    std::mem::forget(socket);
    url
}

/// Returns the address for another user, with a password if there is one: `name:password`.
pub fn as_user(url: &str, user: &str) -> String {
    url.replacen("postgres@", &format!("{user}@"), 1)
}

/// Returns the reason for which a server refused.
pub fn refusal<T>(outcome: Result<T, tokio_postgres::Error>) -> String {
    let error = outcome.err().expect("the server did not refuse");
    error.code().expect("no server refused").code().to_owned()
}

/// Waits within a decision, which is not async.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(future))
}

/// Waits until someone waits for an advisory lock of the session's database.
pub async fn wait_for_lock_waiter(sql: &Client, key: i64) {
    wait_for_lock_waiters(sql, key, 1).await;
}

/// Waits until so many wait for an advisory lock of the session's database.
pub async fn wait_for_lock_waiters(sql: &Client, key: i64, count: usize) {
    let waiters = "SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = database
        WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted
        AND (classid::bigint << 32 | objid::bigint) = $1";
    wait_until(async || sql.query(waiters, &[&key]).await.unwrap().len() >= count).await;
}

/// Ends the sessions of an application, waits until they have ended, and returns how many there were.
pub async fn end_sessions(sql: &Client, application: &str) -> usize {
    let end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
        WHERE application_name = $1";
    sql.query(end, &[&application]).await.unwrap().len()
}

/// Waits for a fact, asking again and again; a fact that does not come fails the test.
pub async fn wait_until(fact: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !fact().await {
        assert!(Instant::now() < deadline, "what the test waits for did not come");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Returns a number that no other test gets.
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

/// A book's loans, and their ends.
pub fn loans_of(book: &str) -> Filter {
    Filter::types(["BookCopyLentToReader", "BookCopyReturnedByReader"])
        .any_of([("BookID", book)])
        .build()
        .unwrap()
}

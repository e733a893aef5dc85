//! The connection pool: acquiring connections, and the errors if there is none.

use std::error::Error as _;
use std::time::{Duration, Instant};

use eddyline::error::Reason;
use eddyline::{
    AppendCondition, Class, Config, Error, Filter, Query, ReadWrite, RetryPolicy, Schema, Store,
};
use futures_util::TryStreamExt;
use futures_util::future::join_all;

use crate::support::{
    FOREVER, Fragile, Log, as_user, cluster, connect, lent, named, next, promptly, secure_server,
    wait_for_lock_waiter, wait_until,
};

/// A role that may append to a log. The connection limits of the server apply to it, which they do
/// not to a superuser.
struct Writer {
    name: String,
    log: Log,
}

impl Writer {
    async fn new() -> Self {
        Self::of(Log::new().await).await
    }

    async fn of(log: Log) -> Self {
        let name = format!("writer_{}", next());
        Schema::new(&log.config()).writer_role(&name).migrate().await.unwrap();
        let writer = Self { name, log };
        writer.alter("LOGIN").await;
        writer
    }

    async fn alter(&self, option: &str) {
        let alter = format!("ALTER ROLE {} {option}", self.name);
        self.log.sql().await.batch_execute(&alter).await.unwrap();
    }

    fn config(&self) -> Config {
        let url = as_user(&self.log.primary_url(), &self.name);
        Config::new(&url).unwrap().log(&self.log.name).retry(RetryPolicy::never())
    }

    /// Returns how many connections of the role the server has refused. Nothing else logs the
    /// role's name.
    async fn refusals(&self) -> usize {
        let log = std::fs::read_to_string(cluster().await.primary().log()).unwrap();
        log.matches(&format!("\"{}\"", self.name)).count()
    }
}

#[tokio::test]
async fn the_first_append_uses_the_connection_of_the_connect_check() {
    let log = Log::new().await;
    let (url, name) = named(&log.primary_url());
    let store = Store::<ReadWrite>::connect(Config::new(&url).unwrap().log(&log.name)).await;
    let (store, sql) = (store.unwrap(), log.sql().await);
    let sessions = "SELECT array_agg(pid) FROM pg_stat_activity WHERE application_name = $1";
    let sessions = async || sql.query_one(sessions, &[&name]).await.unwrap().get::<_, Vec<i32>>(0);
    let checked = sessions().await;

    store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();

    assert_eq!((checked.len(), sessions().await), (1, checked));
}

/// Warming up the append statement is skipped if the lock is held.
#[tokio::test]
async fn a_store_connects_while_the_lock_of_its_log_is_held() {
    let log = Log::new().await;
    let holder = log.sql().await;
    holder.batch_execute(&format!("BEGIN; {}", log.insert("b-0"))).await.unwrap();
    let config = log.config().lock_timeout(FOREVER).connect_timeout(FOREVER);

    let store = Store::<ReadWrite>::connect(config).await.unwrap();

    holder.batch_execute("COMMIT").await.unwrap();
    store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
}

/// A changed password is a permanent error: waiting does not help.
#[tokio::test]
async fn a_permanent_connect_error_is_returned_immediately() {
    let server = secure_server().await;
    let (name, log) = (format!("writer_{}", next()), format!("log_{}", next()));
    let owner = Config::new(&server.url_by_address()).unwrap().log(&log);
    Schema::new(&owner).migrate().await.unwrap();
    let sql = connect(&server.url_by_address()).await;
    server.create_user_with_password(&name, "shelf-mark").await;
    let url = as_user(&server.url(), &format!("{name}:shelf-mark"));
    let config = Config::new(&url).unwrap().log(&log).acquire_timeout(FOREVER);
    let config = config.retry(RetryPolicy::never());
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    sql.batch_execute(&format!("ALTER ROLE {name} PASSWORD 'other'")).await.unwrap();

    for _ in 0..3 {
        let error = promptly(store.head()).await.unwrap_err();

        assert_eq!(error.sqlstate().unwrap().as_str(), "28P01", "{error:?}");
        assert_eq!(error.class(), Class::Permanent(Reason::Authentication));
    }
    sql.batch_execute(&format!("ALTER ROLE {name} PASSWORD 'shelf-mark'")).await.unwrap();
    store.head().await.unwrap();
}

/// No new connection can be opened, so the read waits for the existing one.
#[tokio::test]
async fn a_read_waits_for_an_existing_connection_if_no_new_one_can_be_opened() {
    let writer = Writer::new().await;
    let store = Store::<ReadWrite>::connect(writer.config()).await.unwrap();
    let stream = store.stream(Filter::everything()).await.unwrap();
    writer.alter("NOLOGIN").await;

    let read = store.head();
    let end = async {
        wait_until(async || writer.refusals().await > 1).await;
        stream.try_collect::<Vec<_>>().await.unwrap();
    };
    let (head, ()) = tokio::join!(read, end);

    head.unwrap();
}

#[tokio::test]
async fn a_transient_connect_error_is_waited_out() {
    let writer = Writer::new().await;
    let config = writer.config().acquire_timeout(FOREVER);
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    writer.alter("CONNECTION LIMIT 0").await;

    let reads = join_all((0..4).map(|_| store.head()));
    let end = async {
        wait_until(async || writer.refusals().await > 8).await;
        writer.alter("CONNECTION LIMIT -1").await;
    };
    let (heads, ()) = tokio::join!(reads, end);

    assert!(heads.iter().all(Result::is_ok), "{heads:?}");
}

/// The pool stays below its maximum, and waiting calls share its connections.
#[tokio::test]
async fn calls_share_a_pool_that_cannot_reach_its_maximum() {
    let writer = Writer::new().await;
    writer.alter("CONNECTION LIMIT 2").await;
    let config = writer.config().max_connections(8);
    let store = Store::<ReadWrite>::connect(config).await.unwrap();

    let appends = (0..100)
        .map(|book| store.append([lent(&format!("b-{book}"), "r-1")], AppendCondition::none()));
    let outcomes = join_all(appends).await;

    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
}

#[tokio::test]
async fn an_acquire_timeout_returns_the_last_connect_error() {
    let writer = Writer::new().await;
    let timeout = Duration::from_secs(2);
    let config = writer.config().acquire_timeout(timeout);
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    writer.alter("CONNECTION LIMIT 0").await;

    let started = Instant::now();
    let head = store.head().await;
    let waited = started.elapsed();

    let error = head.unwrap_err();
    assert!(matches!(error, Error::Database { .. }), "{error:?}");
    assert_eq!(error.sqlstate().unwrap().as_str(), "53300");
    assert_eq!(error.class(), Class::Transient);
    assert!(waited >= timeout, "{waited:?}");
    assert!(writer.refusals().await > 1, "the pool did not try again");
}

#[tokio::test]
async fn a_stopped_server_is_named_once_in_the_error() {
    let fragile = Fragile::new().await;
    let config =
        fragile.config().retry(RetryPolicy::never()).acquire_timeout(Duration::from_secs(2));
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    fragile.cluster.primary().stop().await.unwrap();

    let error = store.head().await.unwrap_err();

    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert_eq!(error.class(), Class::Transient);
    assert!(!error.source().unwrap().to_string().contains("primary"), "{error:?}");
}

/// The pool is empty rather than exhausted: the connection is only slow to open.
#[tokio::test]
async fn a_connection_that_opens_too_slowly_is_not_reported_as_an_exhausted_pool() {
    let fragile = Fragile::new().await;
    let config =
        fragile.config().retry(RetryPolicy::never()).acquire_timeout(Duration::from_millis(200));
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    fragile.cluster.primary().sigstop().unwrap();

    let error = store.head().await.unwrap_err();

    fragile.cluster.primary().sigcont().unwrap();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert_eq!(error.class(), Class::Transient);
}

/// After the restart all connections of the pool are closed.
#[tokio::test]
async fn closed_connections_are_not_handed_out() {
    let fragile = Fragile::new().await;
    let config = fragile.config().retry(RetryPolicy::never());
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    let event = || [lent("b-1", "r-1")];
    for outcome in join_all((0..8).map(|_| store.append(event(), AppendCondition::none()))).await {
        outcome.unwrap();
    }
    fragile.cluster.primary().stop_immediately().await.unwrap();
    fragile.cluster.primary().start().await.unwrap();

    for _ in 0..8 {
        store.append(event(), AppendCondition::none()).await.unwrap();
    }
}

#[tokio::test]
async fn an_exhausted_pool_fails_reads_lets_appends_pass_and_recovers() {
    let log = Log::new().await;
    let timeout = Duration::from_millis(150);
    let config = log.config().max_connections(1).acquire_timeout(timeout);
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    let events: Vec<_> = (0..2_000).map(|book| lent(&format!("b-{book}"), "r-1")).collect();
    store.append(events, AppendCondition::none()).await.unwrap();
    let mut stream = store.stream(Filter::everything()).await.unwrap();
    stream.try_next().await.unwrap();

    let started = Instant::now();
    let query = promptly(store.query(Filter::everything())).await.unwrap_err();
    let elapsed = started.elapsed();
    let appended = store.append([lent("b-1", "r-1")], AppendCondition::none()).await;

    let Error::PoolExhausted { waited, .. } = query else { panic!("{query:?}") };
    assert_eq!(waited, timeout);
    assert!(elapsed >= timeout, "{elapsed:?}");
    assert!(appended.is_ok(), "{appended:?}");
    drop(stream);
    // The connection is usable again after the unread rows of the stream have arrived.
    let query = || store.query(Query::new(&Filter::everything()).limit(1));
    wait_until(async || query().await.is_ok_and(|last| last.events().len() == 1)).await;
}

/// The end of a connection may not be noticed before the connection is used.
#[tokio::test]
async fn a_store_recovers_from_terminated_connections() {
    let log = Log::new().await;
    let name = format!("branch_{}", next());
    let url = format!("{}?application_name={name}", log.primary_url());
    let config = Config::new(&url).unwrap().log(&log.name).max_connections(1);
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    store.head().await.unwrap();
    let sql = log.sql().await;
    let sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name = $1";
    sql.execute(sessions, &[&name]).await.unwrap();
    wait_until(async || sql.query(sessions, &[&name]).await.unwrap().is_empty()).await;

    let first = store.append([lent("b-1", "r-1")], AppendCondition::none()).await;
    let second = store.append([lent("b-1", "r-1")], AppendCondition::none()).await;

    if let Err(error) = first {
        let lost = matches!(error, Error::ConnectionLost { .. } | Error::OutcomeUnknown { .. });
        assert!(lost, "{error:?}");
    }
    assert!(second.is_ok(), "{second:?}");
}

/// A second worker fails to connect during a slow batch. Long after that, an append waits behind a
/// batch that waits for the log's lock.
#[tokio::test]
async fn an_earlier_connect_failure_is_not_the_reason_of_a_later_timeout() {
    let writer = Writer::new().await;
    let long = Duration::from_secs(600);
    let patient = RetryPolicy::builder().attempt_timeout(long).deadline(long).build().unwrap();
    let config = writer.config().lock_timeout(long).retry(patient);
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    let append = async |store: &Store<ReadWrite>, book: &str| {
        store.append([lent(book, "r-1")], AppendCondition::none()).await
    };
    append(&store, "b-0").await.unwrap();
    let (holder, key) = (writer.log.sql().await, writer.log.lock_key().await);
    let unlock = async || {
        holder.execute("SELECT pg_advisory_unlock($1)", &[&key]).await.unwrap();
    };
    holder.execute("SELECT pg_advisory_lock($1)", &[&key]).await.unwrap();
    writer.alter("NOLOGIN").await;
    let second = async {
        // A batch that takes longer than a second leaves the queue to another worker.
        tokio::time::sleep(Duration::from_millis(1_300)).await;
        append(&store, "b-2").await
    };
    let release = async {
        wait_until(async || writer.refusals().await > 0).await;
        unlock().await;
    };
    let (first, second, ()) = tokio::join!(append(&store, "b-1"), second, release);
    first.unwrap();
    second.unwrap();
    writer.alter("LOGIN").await;

    holder.execute("SELECT pg_advisory_lock($1)", &[&key]).await.unwrap();
    let short = RetryPolicy::builder().attempts(1_000).attempt_timeout(Duration::from_millis(200));
    let hasty = store.with_retry_policy(short.deadline(long).no_budget().build().unwrap());
    let observer = writer.log.sql().await;
    let late = async {
        wait_for_lock_waiter(&observer, key).await;
        append(&hasty, "b-4").await
    };
    let release = async {
        wait_for_lock_waiter(&holder, key).await;
        tokio::time::sleep(Duration::from_millis(800)).await;
        unlock().await;
    };
    let (first, late, ()) = tokio::join!(append(&store, "b-3"), late, release);

    first.unwrap();
    late.unwrap();
}

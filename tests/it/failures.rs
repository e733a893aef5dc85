//! Failures of real servers, and the class that the store gives to each.

use std::cell::RefCell;
use std::error::Error as _;
use std::iter::successors;
use std::time::Duration;

use eddyline::error::Reason;
use eddyline::{
    AppendCondition, Class, Config, Error, Filter, ReadOnly, ReadWrite, RetryPolicy, Schema, Store,
};
use local_postgres::Cluster;
use tokio_postgres::Client;
use tokio_postgres::error::DbError;

use crate::documented_classes::{Role, class_in_append, class_in_read, codes};
use crate::support::{
    FOREVER, Fragile, Log, SLEEP, connect, lent, log_that_runs, named, next, run_after_appends,
    run_on_reads, sleeping_backend, wait_until,
};

/// Disables retries, so that a call returns the error of its first attempt.
fn once(config: Config) -> Config {
    config.retry(RetryPolicy::never())
}

/// Reads a log whose reads sleep, and runs `end` meanwhile. Returns the error of the read.
async fn read_failing(log: &Log, end: impl AsyncFnOnce(&Client, i32)) -> Error {
    let sql = log.sql().await;
    let name = log_that_runs(&sql, SLEEP).await;
    let (url, application) = named(&log.primary_url());
    let store =
        Store::<ReadOnly>::connect(once(Config::new(&url).unwrap().log(&name))).await.unwrap();

    let end = async { end(&sql, sleeping_backend(&sql, &application).await).await };
    let (read, ()) = tokio::join!(store.head(), end);

    read.unwrap_err()
}

/// Appends to a log whose appends sleep, and runs `end` meanwhile. Returns the error of the append
/// and the number of stored events.
async fn append_failing(log: &Log, end: impl AsyncFnOnce(&Client, i32)) -> (Error, usize) {
    let sql = log.sql().await;
    run_after_appends(&sql, &log.name, SLEEP).await;
    let (url, application) = named(&log.primary_url());
    let config = once(Config::new(&url).unwrap().log(&log.name));
    let store = Store::<ReadWrite>::connect(config).await.unwrap();

    let append = store.append([lent("b-1", "r-1")], AppendCondition::none());
    let end = async { end(&sql, sleeping_backend(&sql, &application).await).await };
    let (append, ()) = tokio::join!(append, end);

    let stored = store.query(Filter::everything()).await.unwrap().events().len();
    (append.unwrap_err(), stored)
}

async fn signal(sql: &Client, function: &str, process: i32) {
    sql.execute(&format!("SELECT {function}($1)"), &[&process]).await.unwrap();
}

fn code_and_class(error: &Error) -> (Option<&str>, Class) {
    (error.sqlstate().map(|state| state.as_str()), error.class())
}

/// Returns the SQLSTATE of the server's error that caused an error.
fn cause(error: &Error) -> Option<&str> {
    let mut causes = successors(error.source(), |&cause| cause.source());
    let refusal = causes.find_map(|cause| cause.downcast_ref::<DbError>())?;
    Some(refusal.code().code())
}

#[tokio::test]
async fn a_statement_above_statement_timeout_is_a_timeout() {
    let log = Log::new().await;
    let limit = Duration::from_secs(1);
    let slow = log_that_runs(&log.sql().await, SLEEP).await;
    let config = once(log.config()).statement_timeout(limit);
    let reader = Store::<ReadOnly>::connect(config.clone().log(slow)).await.unwrap();
    run_after_appends(&log.sql().await, &log.name, SLEEP).await;
    let writer = Store::<ReadWrite>::connect(config).await.unwrap();

    let (head, query, stream, append) = tokio::join!(
        reader.head(),
        reader.query(Filter::everything()),
        reader.stream(Filter::everything()),
        writer.append([lent("b-1", "r-1")], AppendCondition::none()),
    );

    let errors = [head.unwrap_err(), query.unwrap_err(), stream.unwrap_err(), append.unwrap_err()];
    for error in errors {
        assert_eq!(code_and_class(&error), (Some("57014"), Class::Timeout), "{error:?}");
    }
    let stored = log.writer().await.query(Filter::everything()).await.unwrap();
    assert!(stored.events().is_empty());
}

#[tokio::test]
async fn a_canceled_statement_is_canceled() {
    let cancel = async |sql: &Client, process: i32| signal(sql, "pg_cancel_backend", process).await;
    let log = Log::new().await;

    let read = read_failing(&log, cancel).await;
    let (append, stored) = append_failing(&log, cancel).await;

    for error in [read, append] {
        assert_eq!(code_and_class(&error), (Some("57014"), Class::Canceled), "{error:?}");
        assert!(error.is_canceled());
    }
    assert_eq!(stored, 0);
}

#[tokio::test]
async fn an_append_of_a_terminated_session_has_an_unknown_outcome() {
    let end = async |sql: &Client, process: i32| {
        signal(sql, "pg_terminate_backend", process).await;
    };
    let log = Log::new().await;

    let read = read_failing(&log, end).await;
    let (append, stored) = append_failing(&log, end).await;

    assert_eq!(code_and_class(&read), (Some("57P01"), Class::Transient), "{read:?}");
    let Error::OutcomeUnknown { event_ids, .. } = &append else { panic!("{append:?}") };
    assert_eq!((event_ids.len(), stored), (1, 0));
    assert_eq!(cause(&append), Some("57P01"), "{append:?}");
}

/// The killed backend sends nothing. The others get a message that is not an error by its severity.
#[tokio::test]
async fn an_append_during_a_crash_has_an_unknown_outcome() {
    let fragile = Fragile::new().await;
    let sql = fragile.sql().await;
    let slow = log_that_runs(&sql, SLEEP).await;
    run_after_appends(&sql, &fragile.log, SLEEP).await;
    let config = |log: &str| {
        let (url, application) = named(&fragile.primary_url());
        (once(Config::new(&url).unwrap().log(log)), application)
    };
    let (reads, reading) = config(&slow);
    let reader = Store::<ReadOnly>::connect(reads).await.unwrap();
    let (writes, writing) = config(&fragile.log);
    let writer = Store::<ReadWrite>::connect(writes).await.unwrap();

    let crash = async {
        sleeping_backend(&sql, &writing).await;
        let process = sleeping_backend(&sql, &reading).await;
        fragile.cluster.primary().kill_backend(process).unwrap();
    };
    let append = writer.append([lent("b-1", "r-1")], AppendCondition::none());
    let (read, append, ()) = tokio::join!(reader.head(), append, crash);

    let (read, append) = (read.unwrap_err(), append.unwrap_err());
    assert!(matches!(read, Error::ConnectionLost { .. }), "{read:?}");
    assert_eq!(code_and_class(&read), (None, Class::Transient));
    assert!(matches!(append, Error::OutcomeUnknown { .. }), "{append:?}");
    wait_until(async || writer.head().await.is_ok()).await;
    assert!(writer.query(Filter::everything()).await.unwrap().events().is_empty());
}

#[tokio::test]
async fn a_lock_timeout_is_transient() {
    let log = Log::new().await;
    let config = once(log.config()).lock_timeout(Duration::from_millis(50));
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    let holder = log.sql().await;
    holder.batch_execute(&format!("BEGIN; {}", log.insert("b-held"))).await.unwrap();

    let append = store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap_err();
    holder.batch_execute(&format!("LOCK TABLE {}", log.name)).await.unwrap();
    let read = store.head().await.unwrap_err();

    for error in [append, read] {
        assert_eq!(code_and_class(&error), (Some("55P03"), Class::Transient), "{error:?}");
    }
}

/// The session that waited first checks for deadlocks first, and is the one that fails.
#[tokio::test]
async fn a_deadlock_is_transient() {
    let log = Log::isolated().await;
    let (holder, observer, key) = (log.sql().await, log.sql().await, log.lock_key().await);
    // The append checks once, this long after it began to wait.
    log.set("deadlock_timeout = '5s'").await;
    let store = Store::<ReadWrite>::connect(once(log.config())).await.unwrap();
    // Preparing the statements now keeps the append from waiting for the table before it has the
    // log's lock.
    store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
    let lock =
        format!("BEGIN; SET deadlock_timeout = '10min'; LOCK TABLE {} IN SHARE MODE", log.name);
    holder.batch_execute(&lock).await.unwrap();

    let append = store.append([lent("b-1", "r-1")], AppendCondition::none());
    let close = async {
        let waiting = format!(
            "SELECT FROM pg_locks WHERE relation = '{}'::regclass AND NOT granted",
            log.name
        );
        wait_until(async || !observer.query(&waiting, &[]).await.unwrap().is_empty()).await;
        holder.execute("SELECT pg_advisory_xact_lock($1)", &[&key]).await.unwrap();
    };
    let (append, ()) = tokio::join!(append, close);

    let error = append.unwrap_err();
    assert_eq!(code_and_class(&error), (Some("40P01"), Class::Transient), "{error:?}");
}

#[tokio::test]
async fn a_read_canceled_by_replay_is_transient() {
    let fragile = Fragile::new().await;
    let sql = fragile.sql().await;
    let name = log_that_runs(&sql, SLEEP).await;
    fragile.cluster.wait_for_replay().await.unwrap();
    let (url, application) = named(&fragile.cluster.standbys()[0].url("postgres"));
    let replica = connect(&url).await;
    let store =
        Store::<ReadOnly>::connect(once(Config::new(&url).unwrap().log(&name))).await.unwrap();

    let lock = async {
        sleeping_backend(&replica, &application).await;
        let lock = format!("BEGIN; LOCK TABLE {name}_books IN ACCESS EXCLUSIVE MODE; COMMIT");
        sql.batch_execute(&lock).await.unwrap();
    };
    let (read, ()) = tokio::join!(store.head(), lock);

    let error = read.unwrap_err();
    assert_eq!(code_and_class(&error), (Some("40001"), Class::Transient), "{error:?}");
}

#[tokio::test]
async fn a_dropped_database_is_a_permanent_failure() {
    let log = Log::isolated().await;
    log.reader().await;
    let sql = log.sql().await;
    let name = log_that_runs(&sql, SLEEP).await;
    log.reader().await;
    let (url, application) = named(&log.replica_url());
    let database = url.split(['/', '?']).nth(3).unwrap().to_owned();
    let others = |url: &str| url.replace(&database, "postgres");
    let (replica, primary) =
        (connect(&others(&log.replica_url())).await, connect(&others(&log.primary_url())).await);
    let store =
        Store::<ReadOnly>::connect(once(Config::new(&url).unwrap().log(&name))).await.unwrap();

    let drop = async {
        sleeping_backend(&replica, &application).await;
        let drop = format!("DROP DATABASE {database} WITH (FORCE)");
        primary.batch_execute(&drop).await.unwrap();
    };
    let (read, ()) = tokio::join!(store.head(), drop);

    let schema = Class::Permanent(Reason::Schema);
    let error = read.unwrap_err();
    assert_eq!(code_and_class(&error), (Some("57P04"), schema), "{error:?}");
    let error = store.head().await.unwrap_err();
    // While it is being dropped, the server calls it invalid.
    assert!(["3D000", "55000"].contains(&code_and_class(&error).0.unwrap()), "{error:?}");
    assert_eq!(error.class(), schema);
}

/// A server that shuts down waits for its sessions, and accepts no new ones.
#[tokio::test]
async fn a_server_that_shuts_down_is_a_transient_failure() {
    let fragile = Fragile::new().await;
    let config = once(fragile.config()).acquire_timeout(Duration::from_secs(2));
    let store = Store::<ReadWrite>::connect(config.clone()).await.unwrap();
    let last = fragile.sql().await;
    let postmaster = fragile.cluster.primary().process_id().unwrap().to_string();
    std::process::Command::new("kill").args(["-TERM", &postmaster]).status().unwrap();
    let url = fragile.primary_url();
    wait_until(async || tokio_postgres::connect(&url, tokio_postgres::NoTls).await.is_err()).await;

    let (connect, head) = tokio::join!(Store::<ReadWrite>::connect(config), store.head());

    for error in [connect.unwrap_err(), head.unwrap_err()] {
        assert_eq!(code_and_class(&error), (Some("57P03"), Class::Transient), "{error:?}");
    }
    // The store has a connection that the server waits for.
    store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
    drop(store);
    drop(last);
    wait_until(async || !fragile.cluster.primary().is_running()).await;
}

/// All attempts are shorter than `Config::acquire_timeout`, so the deadline passes while the store
/// waits for a connection.
#[tokio::test]
async fn a_deadline_during_an_outage_names_the_reason_of_the_outage() {
    let fragile = Fragile::new().await;
    let policy = RetryPolicy::builder().attempt_timeout(Duration::from_millis(300));
    let policy = policy.deadline(Duration::from_secs(1)).build().unwrap();
    let store = Store::<ReadWrite>::connect(fragile.config().retry(policy)).await.unwrap();
    fragile.cluster.primary().stop_immediately().await.unwrap();

    let head = store.head().await.unwrap_err();
    // The first append may be sent over the connection that the server has closed.
    let _ = store.append([lent("b-1", "r-1")], AppendCondition::none()).await;
    let append = store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap_err();

    for error in [head, append] {
        assert_eq!(error.class(), Class::Transient, "{error:?}");
        assert!(error.to_string().contains("nothing listens on port"), "{error}");
    }
}

/// A new connection finds the new primary, also if the promotion was not observed yet.
#[tokio::test]
async fn a_store_leaves_a_primary_that_became_read_only_for_the_new_one() {
    let cluster = Cluster::builder().standbys(1).fsync(false).start().await.unwrap();
    let (old, new) = (cluster.primary(), &cluster.standbys()[0]);
    let url = format!("postgres://postgres@127.0.0.1:{},127.0.0.1:{}", old.port(), new.port());
    let config = once(Config::new(&format!("{url}/postgres")).unwrap().max_connections(1));
    let config = config.watch_interval(FOREVER);
    Schema::new(&config).migrate().await.unwrap();
    cluster.wait_for_replay().await.unwrap();
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    let append = async || store.append([lent("b-1", "r-1")], AppendCondition::none()).await;
    append().await.unwrap();
    new.promote().await.unwrap();
    let sql = connect(&old.url("postgres")).await;
    sql.batch_execute("ALTER SYSTEM SET default_transaction_read_only = on").await.unwrap();
    sql.batch_execute("SELECT pg_reload_conf()").await.unwrap();

    // The setting reaches the session a moment later.
    let refused = RefCell::new(None);
    wait_until(async || {
        refused.replace(append().await.err());
        refused.borrow().is_some()
    })
    .await;
    let after = append().await;

    let refused = refused.into_inner().unwrap();
    assert_eq!(code_and_class(&refused), (Some("25006"), Class::Transient), "{refused:?}");
    after.unwrap();
    let everything = "SELECT count(*) FROM events";
    let new = connect(&new.url("postgres")).await.query_one(everything, &[]).await.unwrap();
    assert!(new.get::<_, i64>(0) > 0);
}

#[tokio::test]
async fn every_sqlstate_has_its_documented_class() {
    let log = Log::new().await;
    let (sql, table) = (log.sql().await, format!("codes_{}", next()));
    sql.batch_execute(&format!("CREATE TABLE {table} AS SELECT '00000' AS code")).await.unwrap();
    let raise =
        format!("RAISE 'raised by a test' USING ERRCODE = (SELECT code FROM public.{table});");
    run_after_appends(&sql, &log.name, &raise).await;
    let other = Log::new().await;
    let writer = Store::<ReadWrite>::connect(once(log.config())).await.unwrap();
    let decider = Store::<ReadWrite>::connect(once(other.config())).await.unwrap();
    let reader = Store::<ReadOnly>::connect(once(other.config())).await.unwrap();
    run_on_reads(&sql, &other.name, &raise).await;
    // 00000 cannot be raised. The log itself raises 428C9, for a damaged sequence.
    let not_raised = ["00000", "428C9"];
    for code in codes().await.into_iter().filter(|code| !not_raised.contains(&&**code)) {
        sql.execute(&format!("UPDATE {table} SET code = $1"), &[&code]).await.unwrap();

        let append = writer.append([lent("b-1", "r-1")], AppendCondition::none()).await;
        let decide = decider.head().await;
        let read = reader.head().await;

        let append = append.unwrap_err();
        let class = class_in_append(&code, false);
        assert_eq!(append.class().as_str(), class, "{append:?}");
        let class = class_in_read(&code, Role::Primary);
        assert_eq!(decide.unwrap_err().class().as_str(), class, "{code}");
        let class = class_in_read(&code, Role::Replica);
        assert_eq!(read.unwrap_err().class().as_str(), class, "{code}");
        if append.is_outcome_unknown() {
            assert_eq!(cause(&append), Some(&*code), "{append:?}");
        }
    }
    let events = format!("SELECT count(*) FROM {}", log.name);
    assert_eq!(sql.query_one(&events, &[]).await.unwrap().get::<_, i64>(0), 0);
}

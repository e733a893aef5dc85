//! Metrics of replicas and of the append queue, compared with what the test has appended.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use eddyline::{
    AppendCondition, Config, Error, Fallback, Filter, ReadOnly, ReadWrite, RetryPolicy, Schema,
    Store,
};
use futures_util::future::join_all;
use tokio::task::JoinHandle;

use crate::replica::append;
use crate::support::{
    FOREVER, Log, Observer, Replicated, as_user, lent, next, promptly, series, unreachable_url,
    wait_for_lock_waiter, wait_until,
};

const LAG: &str = "eventstore.replica.lag";
const DELAY: &str = "eventstore.replica.delay";
const QUEUE: &str = "eventstore.append.queue";
const MAX: &str = "db.client.connection.max";
const FAULTS: &str = "eventstore.replica.faults";

/// Connects a store `branch` that knows the primary as well.
async fn branch(replicated: &Replicated, config: Config, observer: &Observer) -> Store<ReadOnly> {
    let primary = replicated.cluster.primary().url("postgres");
    let config = config.primary(&primary, Fallback::Never).unwrap();
    let config = config.name("branch").watch_interval(Duration::from_millis(20));
    Store::<ReadOnly>::connect(config.telemetry(observer.telemetry())).await.unwrap()
}

/// Returns the values of each replica of the store `branch`, by its name.
fn replicas(observer: &Observer, name: &str) -> BTreeMap<String, f64> {
    observer.values(name, "store=branch")
}

fn both(value: f64) -> BTreeMap<String, f64> {
    ["server=replica-0", "server=replica-1"].map(|server| (server.to_owned(), value)).into()
}

#[tokio::test]
async fn a_replica_that_replays_nothing_lags_by_what_is_appended() {
    let (replicated, observer) = (Replicated::new().await, Observer::new());
    let writer = replicated.writer().await;
    append(&writer, "b-0").await;
    replicated.cluster.wait_for_replay().await.unwrap();
    let reader = branch(&replicated, replicated.replica_config(), &observer).await;
    wait_until(async || replicas(&observer, LAG) == both(0.0)).await;
    let before = replicas(&observer, DELAY);
    replicated.pause_replay().await;

    let began = Instant::now();
    for book in 0..5 {
        append(&writer, &format!("b-{book}")).await;
    }
    wait_until(async || replicas(&observer, LAG) == both(5.0)).await;
    let known = Instant::now();
    let first = replicas(&observer, DELAY);
    let later = Instant::now();
    wait_until(async || later.elapsed() > Duration::from_millis(50)).await;
    let (passed, at_least) = (later.elapsed(), known.elapsed());
    let second = replicas(&observer, DELAY);
    let limits = at_least..=began.elapsed();
    let lag = replicas(&observer, LAG);

    assert_eq!((before, lag), (both(0.0), both(5.0)));
    assert_eq!((first.len(), second.len()), (2, 2));
    for (server, delay) in &second {
        let delay = Duration::from_secs_f64(*delay);
        assert!(limits.contains(&delay), "{server}: {delay:?} {limits:?}");
        assert!(delay >= Duration::from_secs_f64(first[server]) + passed, "{server}: {delay:?}");
    }
    replicated.resume_replay().await;
    wait_until(async || replicas(&observer, LAG) == both(0.0)).await;
    assert_eq!(replicas(&observer, DELAY), both(0.0));
    drop(reader);
}

/// One replica shows the events, from which the store knows of them.
#[tokio::test]
async fn a_replica_lags_behind_another_one_if_no_primary_is_named() {
    let (replicated, observer) = (Replicated::new().await, Observer::new());
    let writer = replicated.writer().await;
    // Both replicas have to know the log when the store connects.
    replicated.cluster.wait_for_replay().await.unwrap();
    let config = replicated.replica_config().watch_interval(Duration::from_millis(20));
    let config = config.name("branch").telemetry(observer.telemetry());
    let reader = Store::<ReadOnly>::connect(config).await.unwrap();
    replicated.cluster.standbys()[1].pause_replay().await.unwrap();

    for book in 0..3 {
        append(&writer, &format!("b-{book}")).await;
    }

    let expected =
        BTreeMap::from([("server=replica-0".into(), 0.0), ("server=replica-1".into(), 3.0)]);
    wait_until(async || replicas(&observer, LAG) == expected).await;
    let delays = replicas(&observer, DELAY);
    assert_eq!(delays["server=replica-0"], 0.0);
    assert!(delays["server=replica-1"] > 0.0, "{delays:?}");
    replicated.resume_replay().await;
    wait_until(async || replicas(&observer, DELAY) == both(0.0)).await;
    drop(reader);
}

/// A replica whose head is unknown must not look like one that is up to date.
#[tokio::test]
async fn a_replica_that_has_not_answered_has_no_lag() {
    let (replicated, observer) = (Replicated::new().await, Observer::new());
    let config = Config::new(&unreachable_url()).unwrap();
    let config = config.replica(&replicated.cluster.standbys()[0].url("postgres")).unwrap();
    let reader = branch(&replicated, config.log(&replicated.log), &observer).await;

    wait_until(async || !replicas(&observer, LAG).is_empty()).await;

    let expected = BTreeMap::from([("server=replica-1".to_owned(), 0.0)]);
    assert_eq!(replicas(&observer, LAG), expected);
    assert_eq!(replicas(&observer, DELAY), expected);
    drop(reader);
}

#[tokio::test]
async fn the_series_of_a_replica_begin_and_end_with_it() {
    let (replicated, observer) = (Replicated::new().await, Observer::new());
    let [first, second] = replicated.cluster.standbys() else { panic!("two replicas") };
    let config = Config::new(&first.url("postgres")).unwrap().log(&replicated.log);
    let reader = branch(&replicated, config, &observer).await;
    wait_until(async || replicas(&observer, LAG).len() == 1).await;
    let pool = "store=branch pool=replica-1";

    assert_eq!(reader.add_replica(&second.url("postgres")).await.unwrap(), "replica-1");
    wait_until(async || replicas(&observer, LAG) == both(0.0)).await;
    let faults = observer.values(FAULTS, "store=branch");
    let max = observer.value(MAX, pool);
    reader.remove_replica("replica-1").unwrap();
    let lag = replicas(&observer, LAG);

    assert_eq!(faults.len(), 2 * 5, "{faults:?}");
    assert!(max.is_some());
    assert_eq!(lag, BTreeMap::from([("server=replica-0".to_owned(), 0.0)]));
    wait_until(async || observer.value(MAX, pool).is_none()).await;
    drop(reader);
    let names = [LAG, DELAY, MAX];
    wait_until(async || names.iter().all(|name| replicas(&observer, name).is_empty())).await;
}

/// Returns how many operations of a name were in a phase.
fn entered(observer: &Observer, operation: &str, phase: &str) -> u64 {
    let begin = format!("operation={operation} phase={phase} server=replica-");
    let phases = observer.histogram("eventstore.phase.duration").into_iter();
    phases.filter(|(series, _)| series.starts_with(&begin)).map(|(_, (count, _))| count).sum()
}

#[tokio::test]
async fn reads_that_wait_for_a_replica_are_counted_with_their_end() {
    let (replicated, observer) = (Replicated::new().await, Observer::new());
    let writer = replicated.writer().await;
    let config = replicated.replica_config().retry(RetryPolicy::never());
    let patient = branch(&replicated, config.clone(), &observer).await;
    let hasty = config.replica_timeout(Duration::from_millis(100));
    let hasty = branch(&replicated, hasty, &observer).await;
    let waits = || observer.counter("eventstore.replica.waits");
    replicated.pause_replay().await;
    let last = append(&writer, "b-0").await;

    // On a busy machine, both replicas may be left out for a moment.
    let behind = Cell::new(0);
    wait_until(async || {
        let is_behind =
            matches!(hasty.at_least(last).head().await, Err(Error::ReplicaBehind { .. }));
        behind.set(behind.get() + u64::from(is_behind));
        is_behind
    })
    .await;
    let of_hasty = waits()["outcome=behind"];
    let resume = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        replicated.resume_replay().await;
    };
    let patient = patient.at_least(last);
    let read = patient.query(Filter::everything());
    let (history, ()) = promptly(async { tokio::join!(read, resume) }).await;

    assert_eq!(of_hasty, behind.get());
    assert_eq!(history.unwrap().position(), last);
    // The first answer may arrive after the replay has resumed, if the machine is busy.
    let reached = entered(&observer, "query", "wait_replica");
    let expected = [("outcome=behind", behind.get()), ("outcome=reached", reached)];
    assert_eq!(waits(), series(expected));
}

/// The store asks the primary first how fresh an answer has to be.
#[tokio::test]
async fn a_read_that_asks_for_the_head_of_the_primary_waits_for_a_replica() {
    let (replicated, observer) = (Replicated::new().await, Observer::new());
    append(&replicated.writer().await, "b-0").await;
    replicated.cluster.wait_for_replay().await.unwrap();
    let reader = branch(&replicated, replicated.replica_config(), &observer).await;
    wait_until(async || replicas(&observer, LAG) == both(0.0)).await;

    let fresh = reader.max_staleness(Duration::ZERO).unwrap();
    promptly(fresh.query(Filter::everything())).await.unwrap();

    assert_eq!(entered(&observer, "query", "wait_replica"), 1);
}

type Appending = JoinHandle<Result<(), Error>>;

fn start_append(store: &Store<ReadWrite>, book: &str) -> Appending {
    let (store, event) = (store.clone(), lent(book, "r-1"));
    tokio::spawn(async move { store.append([event], AppendCondition::none()).await.map(drop) })
}

/// The first append waits for the lock. No other connection can be opened, so all others wait for
/// that of the first one.
#[tokio::test]
async fn appends_that_wait_for_their_batch_are_counted_exactly() {
    let (log, observer) = (Log::new().await, Observer::new());
    let role = format!("writer_{}", next());
    Schema::new(&log.config()).writer_role(&role).migrate().await.unwrap();
    let (sql, key) = (log.sql().await, log.lock_key().await);
    sql.batch_execute(&format!("ALTER ROLE {role} LOGIN")).await.unwrap();
    let config = Config::new(&as_user(&log.primary_url(), &role)).unwrap().log(&log.name);
    let patient = RetryPolicy::builder().attempt_timeout(FOREVER).deadline(FOREVER);
    let config = config.lock_timeout(FOREVER).statement_timeout(FOREVER).acquire_timeout(FOREVER);
    let config = config.retry(patient.build().unwrap()).name("branch");
    let store = Store::<ReadWrite>::connect(config.telemetry(observer.telemetry())).await.unwrap();
    let waiting = || observer.value(QUEUE, "store=branch");
    let before = waiting();
    let holder = log.sql().await;
    holder.batch_execute(&format!("BEGIN; {}", log.insert("b-held"))).await.unwrap();

    let first = start_append(&store, "b-0");
    wait_for_lock_waiter(&sql, key).await;
    sql.batch_execute(&format!("ALTER ROLE {role} NOLOGIN")).await.unwrap();
    let sent = waiting();
    let others: Vec<_> = (0..5).map(|book| start_append(&store, &format!("b-{book}"))).collect();
    wait_until(async || waiting() == Some(5.0)).await;
    others[2].abort();
    wait_until(async || waiting() == Some(4.0)).await;
    let queued = Instant::now();
    wait_until(async || queued.elapsed() > Duration::from_millis(50)).await;
    let queued = 4.0 * queued.elapsed().as_secs_f64();
    holder.batch_execute("COMMIT").await.unwrap();
    first.await.unwrap().unwrap();
    let outcomes = promptly(join_all(others)).await;

    assert_eq!((before, sent, waiting()), (Some(0.0), Some(0.0), Some(0.0)));
    let appended = outcomes.into_iter().filter(|outcome| matches!(outcome, Ok(Ok(()))));
    assert_eq!(appended.count(), 4);
    let phases = observer.histogram("eventstore.phase.duration");
    let (_, seconds) = phases["operation=append phase=queue server=primary"];
    assert!(seconds >= queued, "{seconds} of {queued}");
}

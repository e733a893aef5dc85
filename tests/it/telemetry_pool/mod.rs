//! Metrics of connection pools, compared with what the test holds and with what the server says.

mod failures;
mod stores;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use eddyline::{
    AppendCondition, Config, Error, EventStream, Fallback, Filter, ReadOnly, ReadWrite,
    RetryPolicy, Store,
};
use futures_util::TryStreamExt;
use futures_util::future::join_all;

use crate::support::{
    FOREVER, Log, Observer, Point, end_sessions, lent, named, promptly, unreachable_url, wait_until,
};

const COUNT: &str = "db.client.connection.count";
const MAX: &str = "db.client.connection.max";
const PENDING: &str = "db.client.connection.pending_requests";
const TIMEOUTS: &str = "db.client.connection.timeouts";
const CREATE_TIME: &str = "db.client.connection.create_time";
const WAIT_TIME: &str = "db.client.connection.wait_time";
const USE_TIME: &str = "db.client.connection.use_time";
const FAILURES: &str = "eventstore.connection.failures";

/// The pool of reads of the store `branch`.
const READS: &str = "store=branch pool=primary";

async fn open(config: Config, observer: &Observer) -> Store<ReadWrite> {
    let config = config.telemetry(observer.telemetry());
    Store::<ReadWrite>::connect(config).await.unwrap()
}

/// Connects a store `branch` that makes one attempt and waits for a connection forever.
async fn branch(config: Config, observer: &Observer) -> Store<ReadWrite> {
    let config = config.name("branch").acquire_timeout(FOREVER).retry(RetryPolicy::never());
    open(config, observer).await
}

/// Opens a stream, which holds a connection.
async fn hold(store: &Store<ReadWrite>) -> EventStream {
    store.stream(Filter::everything()).await.unwrap()
}

/// Ends a stream, so that its connection is returned.
async fn end(stream: EventStream) {
    stream.try_collect::<Vec<_>>().await.unwrap();
}

fn point(observer: &Observer, name: &str, series: &str) -> Point {
    observer.points(name).get(series).copied().unwrap_or_default()
}

/// Returns the idle and the used connections of a pool.
fn connections(observer: &Observer, pool: &str) -> [Option<f64>; 2] {
    let counts = observer.values(COUNT, pool);
    ["state=idle", "state=used"].map(|state| counts.get(state).copied())
}

/// Returns the counts of failures above zero, by class.
fn failures(observer: &Observer, pool: &str) -> BTreeMap<String, f64> {
    let mut failures = observer.values(FAILURES, pool);
    failures.retain(|_, count| *count > 0.0);
    failures
}

fn of_class(class: &str, count: usize) -> BTreeMap<String, f64> {
    BTreeMap::from([(format!("class={class}"), count as f64)])
}

#[tokio::test]
async fn connections_and_waiting_callers_are_counted_exactly() {
    let (log, observer) = (Log::new().await, Observer::new());
    let store = branch(log.config().max_connections(3), &observer).await;
    let pending = || observer.value(PENDING, READS);
    let before = connections(&observer, READS);

    let (first, second) = (hold(&store).await, hold(&store).await);
    let held = connections(&observer, READS);
    end(second).await;
    let returned = connections(&observer, READS);
    let (second, third) = (hold(&store).await, hold(&store).await);
    let full = connections(&observer, READS);
    let none_waits = pending();
    let reads = join_all((0..4).map(|_| store.head()));
    let wait = async {
        wait_until(async || pending() == Some(4.0)).await;
        let while_waiting = connections(&observer, READS);
        join_all([first, second, third].map(end)).await;
        while_waiting
    };
    let (heads, while_waiting) = promptly(async { tokio::join!(reads, wait) }).await;

    assert!(heads.iter().all(Result::is_ok), "{heads:?}");
    let states = [before, held, returned, full, while_waiting, connections(&observer, READS)];
    let expected = [[0, 0], [0, 2], [1, 1], [0, 3], [0, 3], [3, 0]];
    assert_eq!(states, expected.map(|counts| counts.map(|count| Some(f64::from(count)))));
    assert_eq!((none_waits, pending()), (Some(0.0), Some(0.0)));
}

/// The task that appends keeps its connection.
#[tokio::test]
async fn each_pool_of_a_store_has_a_name_and_a_limit() {
    let (log, observer) = (Log::new().await, Observer::new());
    log.reader().await;
    let writer = branch(log.config().max_connections(7), &observer).await;
    writer.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
    let config = Config::new(&unreachable_url()).unwrap().replica(&log.replica_url()).unwrap();
    let config = config.primary(&log.primary_url(), Fallback::Never).unwrap();
    let config = config.log(&log.name).name("reader").max_connections(2);
    let reader = Store::<ReadOnly>::connect(config.telemetry(observer.telemetry())).await.unwrap();

    let writers = observer.values(MAX, "store=branch");
    let readers = observer.values(MAX, "store=reader");

    let pools = |pools: &[(&str, f64)]| -> BTreeMap<_, _> {
        pools.iter().map(|(pool, max)| (format!("pool={pool}"), *max)).collect()
    };
    assert_eq!(writers, pools(&[("primary", 7.0), ("primary-appends", 4.0)]));
    assert_eq!(readers, pools(&[("primary", 2.0), ("replica-0", 2.0), ("replica-1", 2.0)]));
    let appends = connections(&observer, "store=branch pool=primary-appends");
    assert_eq!(appends, [Some(0.0), Some(1.0)]);
    drop(reader);
}

/// A counter that first appears with a value above zero has no rate.
#[tokio::test]
async fn counters_of_a_pool_are_zero_before_anything_happens() {
    let (log, observer) = (Log::new().await, Observer::new());
    let _store = branch(log.config(), &observer).await;

    let classes: Vec<_> = observer.values(FAILURES, READS).into_iter().collect();
    let timeouts = observer.values(TIMEOUTS, "store=branch");

    assert_eq!(classes.len(), 10, "{classes:?}");
    assert!(classes.iter().all(|(_, count)| *count == 0.0), "{classes:?}");
    let expected = ["pool=primary", "pool=primary-appends"].map(|pool| (pool.to_owned(), 0.0));
    assert_eq!(timeouts, BTreeMap::from(expected));
}

#[tokio::test]
async fn callers_that_get_no_connection_in_time_are_counted_exactly() {
    let (log, observer) = (Log::new().await, Observer::new());
    let config = log.config().max_connections(1).retry(RetryPolicy::never()).name("branch");
    let store = open(config.acquire_timeout(Duration::from_millis(50)), &observer).await;
    // On a busy machine it may take longer to open the connection.
    let stream = loop {
        if let Ok(stream) = store.stream(Filter::everything()).await {
            break stream;
        }
    };
    let counts = || [observer.value(TIMEOUTS, READS), observer.value(PENDING, READS)];
    let (before, waits) = (counts(), point(&observer, WAIT_TIME, READS));

    let heads = join_all((0..3).map(|_| store.head())).await;
    let dropped = tokio::time::timeout(Duration::ZERO, store.head()).await;

    assert!(heads.iter().all(|head| matches!(head, Err(Error::PoolExhausted { .. }))), "{heads:?}");
    assert!(dropped.is_err());
    assert_eq!(counts(), [before[0].map(|timeouts| timeouts + 3.0), Some(0.0)]);
    assert_eq!(point(&observer, WAIT_TIME, READS), waits);
    end(stream).await;
}

#[tokio::test]
async fn the_wait_for_a_connection_is_that_of_the_caller() {
    let (log, observer) = (Log::new().await, Observer::new());
    let store = branch(log.config().max_connections(1), &observer).await;
    let stream = hold(&store).await;
    let before = point(&observer, WAIT_TIME, READS);

    let began = Instant::now();
    let release = async {
        wait_until(async || observer.value(PENDING, READS) == Some(1.0)).await;
        let seen = Instant::now();
        wait_until(async || seen.elapsed() > Duration::from_millis(30)).await;
        let waited = seen.elapsed();
        end(stream).await;
        waited
    };
    let (head, at_least) = promptly(async { tokio::join!(store.head(), release) }).await;
    let at_most = began.elapsed();

    head.unwrap();
    let after = point(&observer, WAIT_TIME, READS);
    let waited = Duration::from_secs_f64(after.value - before.value);
    assert_eq!(after.count - before.count, 1);
    assert!((at_least..=at_most).contains(&waited), "{at_least:?} {waited:?} {at_most:?}");
}

#[tokio::test]
async fn the_use_of_a_connection_lasts_until_it_is_returned_or_closed() {
    let (log, observer) = (Log::new().await, Observer::new());
    let events: Vec<_> = (0..2_000).map(|book| lent(&format!("b-{book}"), "r-1")).collect();
    log.writer().await.append(events, AppendCondition::none()).await.unwrap();
    let store = branch(log.config(), &observer).await;

    for is_read_to_the_end in [true, false] {
        let before = point(&observer, USE_TIME, READS);
        let began = Instant::now();
        let mut stream = hold(&store).await;
        let opened = Instant::now();
        stream.try_next().await.unwrap();
        wait_until(async || opened.elapsed() > Duration::from_millis(30)).await;
        let held = opened.elapsed();
        let during = point(&observer, USE_TIME, READS);
        match is_read_to_the_end {
            true => end(stream).await,
            false => drop(stream),
        }

        // The rest of a stream that is dropped may be received before the connection is returned.
        wait_until(async || point(&observer, USE_TIME, READS).count > before.count).await;
        let at_most = began.elapsed();
        let after = point(&observer, USE_TIME, READS);
        let used = Duration::from_secs_f64(after.value - before.value);
        assert_eq!((during.count, after.count), (before.count, before.count + 1));
        assert!((held..=at_most).contains(&used), "{held:?} {used:?} {at_most:?}");
    }
}

#[tokio::test]
async fn each_connection_that_the_server_has_is_one_that_was_created() {
    let (log, observer) = (Log::new().await, Observer::new());
    let (url, application) = named(&log.primary_url());
    let began = Instant::now();
    let store = branch(Config::new(&url).unwrap().log(&log.name), &observer).await;
    let streams = join_all((0..3).map(|_| hold(&store))).await;
    store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
    let elapsed = began.elapsed();

    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
    let sessions: i64 = log.sql().await.query_one(sessions, &[&application]).await.unwrap().get(0);

    let appends = point(&observer, CREATE_TIME, "store=branch pool=primary-appends");
    let reads = point(&observer, CREATE_TIME, READS);
    assert_eq!((appends.count, reads.count, sessions), (1, 3, 4));
    // At most three of them were opened at the same time.
    let total = appends.value + reads.value;
    assert!(total > 0.0 && total <= 3.0 * elapsed.as_secs_f64(), "{total} {elapsed:?}");
    drop(streams);
}

/// A closed connection is neither idle nor used, once the pool has noticed its end.
#[tokio::test]
async fn a_connection_that_ended_is_not_counted() {
    let (log, observer) = (Log::new().await, Observer::new());
    let (url, application) = named(&log.primary_url());
    let store = branch(Config::new(&url).unwrap().log(&log.name), &observer).await;
    join_all([hold(&store).await, hold(&store).await].map(end)).await;
    let before = connections(&observer, READS);

    end_sessions(&log.sql().await, &application).await;
    wait_until(async || store.head().await.is_ok()).await;
    let after = connections(&observer, READS);

    assert_eq!(before, [Some(2.0), Some(0.0)]);
    assert_eq!(after, [Some(1.0), Some(0.0)]);
}

//! What operations wait for, and the phases and requests that this time is counted in. Each test
//! waits for a time that it measures, once it has seen that the operation waits.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use eddyline::import::Imported;
use eddyline::{
    AppendCondition, Config, Decision, Error, Event, Filter, ReadWrite, RetryPolicy, Store,
};
use futures_util::{FutureExt, TryStreamExt, stream};
use tokio_postgres::Client;

use super::{connect, hold, lock_waiters};
use crate::support::{FOREVER, Log, Observer, lent, loans_of, promptly, wait, wait_until};

/// The shortest time that a test waits for.
const HELD: Duration = Duration::from_millis(50);

/// Lets time pass, and returns how much.
async fn pass() -> f64 {
    let began = Instant::now();
    tokio::time::sleep(HELD).await;
    began.elapsed().as_secs_f64()
}

/// Lets time pass on this thread, and returns how much.
fn block() -> f64 {
    let began = Instant::now();
    std::thread::sleep(HELD);
    began.elapsed().as_secs_f64()
}

/// Returns the seconds that the ended operations of a name were in a phase.
fn phase(observer: &Observer, operation: &str, phase: &str) -> f64 {
    let series = format!("operation={operation} phase={phase} server=primary");
    observer.histogram("eventstore.phase.duration").get(&series).copied().unwrap_or_default().1
}

/// Returns the number and the seconds of the requests of a name that have these attributes.
fn requests(observer: &Observer, name: &str, with: &str) -> (u64, f64) {
    let name = format!("db.operation.name={name} ");
    let durations = observer.histogram("db.client.operation.duration").into_iter();
    let named = durations.filter(|(series, _)| series.contains(&name) && series.contains(with));
    named.fold((0, 0.0), |sum, (_, (count, seconds))| (sum.0 + count, sum.1 + seconds))
}

/// Returns more events than a batch has.
fn many() -> Vec<Event> {
    (0..300).map(|book| lent(&format!("b-{book}"), "r-1")).collect()
}

fn patient(log: &Log) -> Config {
    let config = log.config().lock_timeout(FOREVER).statement_timeout(FOREVER);
    config.acquire_timeout(FOREVER).retry(RetryPolicy::never()).name("branch")
}

/// Awaits a call that waits for a lock of the log, which a transaction holds. Returns for how long
/// it has waited at least.
async fn while_locked<T>(log: &Log, holder: Client, call: impl Future<Output = T>) -> f64 {
    let sql = log.sql().await;
    let release = async {
        wait_until(async || lock_waiters(log, &sql).await > 0).await;
        let held = pass().await;
        holder.batch_execute("ROLLBACK").await.unwrap();
        held
    };
    promptly(async { tokio::join!(call, release) }).await.1
}

/// Awaits a call that waits for the only connection of a store. Returns for how long it has waited
/// at least.
async fn while_exhausted<T>(
    observer: &Observer,
    store: &Store<ReadWrite>,
    call: impl Future<Output = T>,
) -> f64 {
    let stream = store.stream(Filter::everything()).await.unwrap();
    let pending = "db.client.connection.pending_requests";
    let release = async {
        wait_until(async || observer.value(pending, "store=branch pool=primary") == Some(1.0))
            .await;
        let held = pass().await;
        stream.try_collect::<Vec<_>>().await.unwrap();
        held
    };
    promptly(async { tokio::join!(call, release) }).await.1
}

#[tokio::test]
async fn a_wait_for_a_connection_is_acquire_and_no_request() {
    let (log, observer) = (Log::new().await, Observer::new());
    let store = connect(patient(&log).max_connections(1), &observer).await;

    let query = async { store.query(Filter::everything()).await.unwrap() };
    let query = while_exhausted(&observer, &store, query).await;
    let append = async { store.append(many(), AppendCondition::none()).await.unwrap() };
    let append = while_exhausted(&observer, &store, append).await;
    let import = async { store.import(stream::iter([lent("b-1", "r-1")])).await.unwrap() };
    let import = while_exhausted(&observer, &store, import).await;

    for (operation, held) in [("query", query), ("append", append), ("import", import)] {
        let acquire = phase(&observer, operation, "acquire");
        assert!(acquire >= held, "{operation}: {acquire} of {held}");
    }
    let spans = observer.spans();
    let start = |name: &str| spans.iter().find(|span| span.name == name).unwrap().start_time;
    let before = start("query").duration_since(start("eventstore.query")).unwrap().as_secs_f64();
    assert!(before >= query, "the request began after {before}, the wait took {query}");
}

#[tokio::test]
async fn a_wait_for_the_server_is_execute() {
    let (log, observer) = (Log::new().await, Observer::new());
    let store = connect(patient(&log), &observer).await;
    let old = store.query(loans_of("b-old")).await.unwrap().condition();
    let events = (0..1_100).map(|book| lent(&format!("b-{book}"), "r-1"));
    store.append(events, AppendCondition::none()).await.unwrap();
    let lock_table = async || {
        let holder = log.sql().await;
        holder.batch_execute(&format!("BEGIN; LOCK TABLE {}", log.name)).await.unwrap();
        holder
    };

    let everything = Filter::everything;
    let query = while_locked(&log, lock_table().await, store.query(everything())).await;
    let head = while_locked(&log, lock_table().await, store.head()).await;
    let stream = async { store.stream(everything()).await.map(drop) };
    let stream = while_locked(&log, lock_table().await, stream).await;
    let import = async { store.import(stream::iter([lent("b-1", "r-1")])).await.unwrap() };
    let import = while_locked(&log, hold(&log).await, import).await;
    for events in [vec![lent("b-1", "r-1")], many()] {
        let before = phase(&observer, "append", "execute");
        let append = store.append(events, AppendCondition::none());
        let held = while_locked(&log, hold(&log).await, append).await;
        let execute = phase(&observer, "append", "execute") - before;
        assert!(execute >= held, "{execute} of {held}");
    }
    // A search validates the condition first.
    let before = phase(&observer, "append", "execute");
    let append = store.append([lent("b-old", "r-1")], old);
    let append = while_locked(&log, lock_table().await, append).await;

    for (operation, held) in [
        ("query", query),
        ("head", head),
        ("stream", stream),
        ("import", import),
        ("append", before + append),
    ] {
        let execute = phase(&observer, operation, "execute");
        assert!(execute >= held, "{operation}: {execute} of {held}");
    }
}

/// The wait for the log's lock, and the closure under it.
#[tokio::test(flavor = "multi_thread")]
async fn the_phases_of_a_decision_are_those_of_its_transaction() {
    let (log, observer) = (Log::new().await, Observer::new());
    let policy = RetryPolicy::builder().attempts(2).escalate_after(1).build().unwrap();
    let store = connect(patient(&log).retry(policy), &observer).await;
    let (rounds, holder, blocked) = (AtomicU32::new(0), Mutex::new(None), Mutex::new(0.0));
    let sql = log.sql().await;
    let release = async {
        let waits = async || lock_waiters(&log, &sql).await > 0;
        wait_until(async || holder.lock().unwrap().is_some() && waits().await).await;
        let held = pass().await;
        let holder: Client = holder.lock().unwrap().take().unwrap();
        holder.batch_execute("ROLLBACK").await.unwrap();
        held
    };

    let decide = store.decide(loans_of("b-1"), |_| {
        if rounds.fetch_add(1, Ordering::Relaxed) == 0 {
            wait(store.append([lent("b-1", "r-1")], AppendCondition::none()))?;
            *holder.lock().unwrap() = Some(wait(hold(&log)));
        } else {
            *blocked.lock().unwrap() = block();
        }
        Ok::<_, Error>(Decision::append([lent("b-1", "r-2")]))
    });
    let (decided, held) = promptly(async { tokio::join!(decide, release) }).await;

    assert!(decided.unwrap().is_escalated());
    let execute = phase(&observer, "decide", "execute");
    assert!(execute >= held, "{execute} of {held}");
    let (decode, blocked) = (phase(&observer, "decide", "decode"), *blocked.lock().unwrap());
    assert!(decode >= blocked, "{decode} of {blocked}");
}

/// The runtime of the test has one thread. So nothing arrives while the test does not wait.
#[tokio::test]
async fn a_stream_decodes_while_its_caller_works_and_executes_while_it_waits() {
    let (log, observer) = (Log::new().await, Observer::new());
    let store = connect(patient(&log), &observer).await;
    let events = (0..5_000).map(|book| lent(&format!("b-{book}"), "r-1"));
    store.append(events, AppendCondition::none()).await.unwrap();

    let mut stream = store.stream(Filter::everything()).await.unwrap();
    stream.try_next().await.unwrap();
    let mut working = block();
    while stream.try_next().now_or_never().is_some() {}
    let waiting = block() + block();
    stream.try_next().await.unwrap();
    working += block();
    drop(stream);

    let decode = phase(&observer, "stream", "decode");
    assert!(decode >= working, "{decode} of {working}");
    let execute = phase(&observer, "stream", "execute");
    assert!(execute >= waiting, "{execute} of {waiting}");
}

#[tokio::test]
async fn an_import_waits_for_its_source_in_the_queue() {
    let (log, observer) = (Log::new().await, Observer::new());
    let store = connect(patient(&log), &observer).await;
    let (stored, passed) = (Arc::new(AtomicU32::new(0)), Arc::new(Mutex::new(0.0)));
    let state = (0, stored.clone(), passed.clone());
    let source = stream::unfold(state, |(book, stored, passed)| async move {
        if book == 1 {
            while stored.load(Ordering::Relaxed) == 0 {
                tokio::task::yield_now().await;
            }
            *passed.lock().unwrap() = pass().await;
        }
        (book < 2).then(|| (lent(&format!("b-{book}"), "r-1"), (book + 1, stored, passed)))
    });

    let count = move |_: &Imported| {
        stored.fetch_add(1, Ordering::Relaxed);
    };
    promptly(store.import(source).chunk(1).on_progress(count).into_future()).await.unwrap();

    let (queue, passed) = (phase(&observer, "import", "queue"), *passed.lock().unwrap());
    assert!(queue >= passed && passed > 0.0, "{queue} of {passed}");
}

#[tokio::test]
async fn a_pause_before_an_attempt_is_a_phase_of_its_operation() {
    let (log, observer) = (Log::new().await, Observer::new());
    let policy = RetryPolicy::builder().attempts(2).base_delay(HELD).build().unwrap();
    let config = log.config().retry(policy).lock_timeout(Duration::from_millis(50));
    let store = connect(config, &observer).await;
    let holder = log.sql().await;
    holder.batch_execute(&format!("BEGIN; LOCK TABLE {}", log.name)).await.unwrap();

    store.query(Filter::everything()).await.unwrap_err();

    let (count, planned) = observer.histogram("eventstore.retry.delay")["scope=query"];
    let pause = phase(&observer, "query", "pause");
    assert_eq!(count, 1);
    assert!(pause >= planned, "{pause} of {planned}");
}

/// The convention demands both attributes, and leaves them out if the request succeeds.
#[tokio::test]
async fn requests_that_fail_are_recorded_with_the_reason() {
    let (log, observer) = (Log::new().await, Observer::new());
    let config = patient(&log).lock_timeout(Duration::from_millis(50));
    let (hasty, store) =
        (connect(config, &observer).await, connect(patient(&log), &observer).await);
    store.query(Filter::everything()).await.unwrap();
    let holder = log.sql().await;
    holder.batch_execute(&format!("BEGIN; LOCK TABLE {}", log.name)).await.unwrap();

    for _ in 0..2 {
        hasty.query(Filter::everything()).await.unwrap_err();
    }
    super::until_waiting(&log, store.query(Filter::everything())).await;

    let count = |with: &str| requests(&observer, "query", with).0;
    let code = "db.response.status_code=55P03 ";
    assert_eq!((count(code), count("error.type=55P03 "), count("error.type=canceled ")), (2, 2, 1));
    assert_eq!((count("error.type="), count("")), (3, 4));
    assert_eq!(count("db.response.status_code="), 2);
}

//! Metrics and spans, compared with the operations of the caller.

mod announced;
mod blocked;
mod exponential;
mod outcomes;
mod phases;
mod spans;

use std::time::{Duration, Instant};

use eddyline::{AppendCondition, Config, Error, Filter, ReadOnly, ReadWrite, Store};
use futures_util::TryStreamExt;
use opentelemetry::trace::SpanKind;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use tokio_postgres::Client;

use crate::support::{
    Log, Observer, PASSWORD, as_user, attribute, lent, series, unreachable_url,
    wait_for_lock_waiter, wait_until,
};

async fn connect(config: Config, observer: &Observer) -> Store<ReadWrite> {
    Store::<ReadWrite>::connect(config.telemetry(observer.telemetry())).await.unwrap()
}

/// Opens a transaction with an insert, which holds the log's lock.
async fn hold(log: &Log) -> Client {
    let holder = log.sql().await;
    holder.batch_execute(&format!("BEGIN; {}", log.insert("b-held"))).await.unwrap();
    holder
}

/// Starts an append and drops it when it waits for the log's lock.
async fn cancel_append(store: &Store<ReadWrite>, log: &Log) {
    let (sql, key) = (log.sql().await, log.lock_key().await);
    tokio::select! {
        biased;
        outcome = store.append([lent("b-1", "r-1")], AppendCondition::none()) => panic!("{outcome:?}"),
        () = wait_for_lock_waiter(&sql, key) => {}
    }
}

/// Returns how many sessions wait for a lock of the log.
async fn lock_waiters(log: &Log, sql: &Client) -> usize {
    let waiting = "SELECT FROM pg_locks WHERE NOT granted AND (relation = $1::text::regclass
        OR locktype = 'advisory' AND objid = $1::text::regclass)";
    sql.query(waiting, &[&log.name]).await.unwrap().len()
}

/// Starts a call and drops it when one more session waits for a lock of the log.
async fn until_waiting<T>(log: &Log, call: impl Future<Output = T>) {
    let sql = log.sql().await;
    let before = lock_waiters(log, &sql).await;
    tokio::select! {
        biased;
        _ = call => panic!("the call did not wait"),
        () = wait_until(async || lock_waiters(log, &sql).await > before) => {}
    }
}

/// Events that a stream has yielded are counted, even if the rest is not read.
#[tokio::test]
async fn events_of_a_dropped_stream_are_counted() {
    let (log, observer) = (Log::new().await, Observer::new());
    let store = connect(log.config(), &observer).await;
    let events: Vec<_> = (0..10).map(|_| lent("b-1", "r-1")).collect();
    store.append(events, AppendCondition::none()).await.unwrap();

    let mut stream = store.stream(Filter::everything()).await.unwrap();
    for _ in 0..4 {
        stream.try_next().await.unwrap();
    }
    drop(stream);

    assert_eq!(observer.counter("eventstore.events")["direction=read server=primary"], 4);
}

#[tokio::test]
async fn durations_are_in_seconds_and_include_waiting() {
    let (log, observer) = (Log::new().await, Observer::new());
    let timeout = Duration::from_millis(150);
    let store = connect(log.config().lock_timeout(timeout), &observer).await;
    let _holder = hold(&log).await;

    let started = Instant::now();
    store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap_err();
    let elapsed = started.elapsed();

    let (count, sum) = observer.durations()["operation=append outcome=timeout server=primary"];
    assert_eq!(count, 1);
    assert!((timeout.as_secs_f64()..=elapsed.as_secs_f64()).contains(&sum), "{sum} {elapsed:?}");
}

#[tokio::test]
async fn instruments_have_a_unit_and_a_description() {
    let (log, observer) = (Log::new().await, Observer::new());
    let store = connect(log.config(), &observer).await;
    store.append([], AppendCondition::none()).await.unwrap_err();

    for (name, unit) in [
        ("eventstore.operation.duration", "s"),
        ("eventstore.events", "{event}"),
        ("eventstore.conflicts", "{conflict}"),
        ("eventstore.errors", "{error}"),
    ] {
        let texts = observer
            .instrument(name, |metric| (metric.unit().to_owned(), metric.description().to_owned()));
        assert_eq!(texts.0, unit, "{name}");
        assert!(!texts.1.is_empty(), "{name}");
    }
    let bounds: Vec<f64> =
        observer.instrument("eventstore.operation.duration", |metric| match metric.data() {
            AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
                histogram.data_points().next().unwrap().bounds().collect()
            }
            other => panic!("{other:?}"),
        });
    assert_eq!((bounds[0], bounds[bounds.len() - 1]), (0.0001, 10.0));
}

#[tokio::test]
async fn a_read_is_counted_for_the_replica_that_served_it() {
    let (log, observer) = (Log::new().await, Observer::new());
    let last = log.writer().await.append([lent("b-1", "r-1")], AppendCondition::none()).await;
    let last = last.unwrap().last();
    log.reader().await;
    let replica = log.replica_url();
    let config = Config::new(&unreachable_url()).unwrap().replica(&replica).unwrap().log(&log.name);
    let store = Store::<ReadOnly>::connect(config.telemetry(observer.telemetry())).await.unwrap();

    for _ in 0..5 {
        store.at_least(last).query(Filter::everything()).await.unwrap();
    }
    store.head().await.unwrap();
    let stream = store.stream(Filter::everything()).await.unwrap();
    stream.try_collect::<Vec<_>>().await.unwrap();

    assert_eq!(
        observer.counts(),
        series([
            ("operation=head outcome=success server=replica-1", 1),
            ("operation=query outcome=success server=replica-1", 5),
            ("operation=stream outcome=success server=replica-1", 1),
        ])
    );
    assert_eq!(observer.counter("eventstore.events")["direction=read server=replica-1"], 6);
    let port = replica.rsplit([':', '/']).nth(1).unwrap();
    for span in observer.spans() {
        let expected = (span.span_kind == SpanKind::Client).then_some(port);
        assert_eq!(attribute(&span, "server.port").as_deref(), expected, "{span:?}");
    }
}

#[tokio::test]
async fn exports_contain_no_secrets() {
    let (log, observer) = (Log::new().await, Observer::new());
    let url = as_user(&log.primary_url(), &format!("postgres:{PASSWORD}"));
    let config = Config::new(&url).unwrap().log(&log.name);
    let store = connect(config.lock_timeout(Duration::from_millis(50)), &observer).await;
    let filter = Filter::any_of([("BookID", "book-secret")]).build().unwrap();
    let history = store.query(&filter).await.unwrap();
    let secret = || lent("book-secret", "reader-secret");
    store.append([secret()], history.condition()).await.unwrap();
    let conflict = store.append([secret()], history.condition()).await;
    assert!(matches!(conflict, Err(Error::Conflict { .. })));
    let _holder = hold(&log).await;
    store.append([secret()], AppendCondition::none()).await.unwrap_err();

    observer.meters.force_flush().unwrap();
    let metrics = format!("{:?}", observer.metrics.get_finished_metrics().unwrap());
    let spans = format!("{:?}", observer.spans());
    assert!(metrics.contains("eventstore.conflicts") && spans.contains("eventstore.append"));
    for exported in [metrics, spans] {
        for secret in ["secret", PASSWORD] {
            assert!(!exported.contains(secret), "{exported}");
        }
    }
}

/// A program may set the global providers after it has made its configuration.
#[tokio::test]
async fn global_providers_are_those_at_the_time_of_connecting() {
    let (log, observer) = (Log::new().await, Observer::new());
    let config = log.config();
    opentelemetry::global::set_meter_provider(observer.meters.clone());

    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    let store = store.with_scope("GlobalProviders");
    store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();

    let outcomes = observer.counter("eventstore.retry.outcomes");
    assert_eq!(outcomes["outcome=first_try scope=GlobalProviders"], 1, "{outcomes:?}");
}

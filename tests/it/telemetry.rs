//! Metrics and spans, compared with the operations of the caller.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use eddyline::{AppendCondition, Config, Error, Filter, ReadOnly, ReadWrite, Store};
use futures_util::TryStreamExt;
use opentelemetry::Context;
use opentelemetry::trace::{FutureExt, SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use tokio_postgres::Client;

use crate::support::{
    Log, Observer, PASSWORD, as_user, attribute, lent, returned, series, unreachable_url,
    wait_for_lock_waiter,
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

#[tokio::test]
async fn every_operation_is_counted_once_by_its_outcome() {
    let (log, observer) = (Log::new().await, Observer::new());
    let store = connect(log.config(), &observer).await;
    let hasty = connect(log.config().lock_timeout(Duration::from_millis(50)), &observer).await;
    let before = store.query(Filter::everything()).await.unwrap();

    for events in [vec![lent("b-1", "r-1"), returned("b-1", "r-1")], vec![lent("b-2", "r-1")]] {
        store.append(events, AppendCondition::none()).await.unwrap();
    }
    for _ in 0..3 {
        let conflict = store.append([lent("b-3", "r-1")], before.condition()).await;
        assert!(conflict.unwrap_err().is_conflict());
    }
    store.append([], AppendCondition::none()).await.unwrap_err();
    for _ in 0..4 {
        store.query(Filter::everything()).await.unwrap();
    }
    store.query(Filter::types(["BookCopyLentToReader"]).build().unwrap()).await.unwrap();
    store.head().await.unwrap();
    let streamed: Vec<_> =
        store.stream(Filter::everything()).await.unwrap().try_collect().await.unwrap();
    drop(store.stream(Filter::everything()).await.unwrap());
    let holder = hold(&log).await;
    cancel_append(&store, &log).await;
    cancel_append(&store, &log).await;
    hasty.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap_err();
    holder.batch_execute(&format!("LOCK TABLE {}", log.name)).await.unwrap();
    hasty.query(Filter::everything()).await.unwrap_err();
    holder.batch_execute(&format!("DROP TABLE {}; COMMIT", log.name)).await.unwrap();
    store.query(Filter::everything()).await.unwrap_err();

    assert_eq!(streamed.len(), 3);
    assert_eq!(
        observer.counts(),
        series([
            ("operation=append outcome=canceled server=primary", 2),
            ("operation=append outcome=conflict server=primary", 3),
            ("operation=append outcome=error server=primary", 1),
            ("operation=append outcome=success server=primary", 2),
            ("operation=append outcome=timeout server=primary", 1),
            ("operation=head outcome=success server=primary", 1),
            ("operation=query outcome=error server=primary", 1),
            ("operation=query outcome=success server=primary", 6),
            ("operation=query outcome=timeout server=primary", 1),
            ("operation=stream outcome=canceled server=primary", 1),
            ("operation=stream outcome=success server=primary", 1),
        ])
    );
    assert_eq!(
        observer.counter("eventstore.events"),
        series([
            ("direction=appended server=primary", 3),
            ("direction=read server=primary", 4 * 3 + 2 + 3),
        ])
    );
    assert_eq!(observer.counter("eventstore.conflicts"), series([("", 3)]));
    assert_eq!(
        observer.counter("eventstore.errors"),
        series([
            ("db.response.status_code=55P03 error.type=transient operation=append", 1),
            ("db.response.status_code=55P03 error.type=transient operation=query", 1),
            ("error.type=invalid operation=append", 1),
            ("error.type=schema operation=query", 1),
        ])
    );
}

/// A rate query ignores the first value of a counter, so counters have to start at zero.
#[tokio::test]
async fn known_series_are_exported_as_zero_before_any_operation() {
    let (log, observer) = (Log::new().await, Observer::new());
    log.reader().await;
    let replicas = Config::new(&unreachable_url()).unwrap().replica(&log.replica_url()).unwrap();
    let config = replicas.log(&log.name).telemetry(observer.telemetry());

    Store::<ReadOnly>::connect(config).await.unwrap();
    connect(log.config(), &observer).await;

    assert_eq!(observer.counter("eventstore.conflicts"), series([("", 0)]));
    let mut events = observer.counter("eventstore.events");
    events.retain(|name, count| *count > 0 || !name.contains("appended server=replica"));
    assert_eq!(
        events,
        series([
            ("direction=appended server=primary", 0),
            ("direction=read server=primary", 0),
            ("direction=read server=replica-0", 0),
            ("direction=read server=replica-1", 0),
        ])
    );
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
async fn every_operation_is_a_span_with_its_outcome() {
    let (log, observer) = (Log::new().await, Observer::new());
    let store = connect(log.config().lock_timeout(Duration::from_millis(50)), &observer).await;
    let patient = connect(log.config(), &observer).await;
    let before = store.query(Filter::everything()).await.unwrap();
    store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
    store.append([lent("b-1", "r-1")], before.condition()).await.unwrap_err();
    store.head().await.unwrap();
    let stream = store.stream(Filter::everything()).await.unwrap();
    stream.try_collect::<Vec<_>>().await.unwrap();
    let _holder = hold(&log).await;
    store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap_err();
    cancel_append(&patient, &log).await;
    store.append([], AppendCondition::none()).await.unwrap_err();

    let spans = observer.spans();

    let expected = [
        ("eventstore.query", "success"),
        ("eventstore.append", "success"),
        ("eventstore.append", "conflict"),
        ("eventstore.head", "success"),
        ("eventstore.stream", "success"),
        ("eventstore.append", "timeout"),
        ("eventstore.append", "canceled"),
        ("eventstore.append", "error"),
    ];
    assert_eq!(spans.len(), expected.len());
    let port = log.primary_url().rsplit([':', '/']).nth(1).unwrap().to_owned();
    for (span, (name, outcome)) in spans.iter().zip(expected) {
        let operation = name.strip_prefix("eventstore.").unwrap();
        assert_eq!((span.name.as_ref(), &span.span_kind), (name, &SpanKind::Client));
        for (key, value) in [
            ("db.system.name", "postgresql"),
            ("db.namespace", "library|public"),
            ("db.collection.name", &log.name),
            ("db.operation.name", operation),
            ("server.address", "127.0.0.1"),
            ("server.port", &port),
            ("outcome", outcome),
        ] {
            assert_eq!(attribute(span, key).as_deref(), Some(value), "{key} of {span:?}");
        }
        let failed = ["timeout", "error"].contains(&outcome);
        assert_eq!(matches!(span.status, Status::Error { .. }), failed, "{span:?}");
        assert_eq!(attribute(span, "error.type").is_some(), failed, "{span:?}");
    }
    assert_eq!(attribute(&spans[5], "db.response.status_code").unwrap(), "55P03");
}

/// A collector may keep any one of several attributes with the same key.
#[tokio::test]
async fn a_span_has_each_attribute_once() {
    let (log, observer) = (Log::new().await, Observer::new());
    log.reader().await;
    let replicas = Config::new(&unreachable_url()).unwrap().replica(&log.replica_url()).unwrap();
    let config = replicas.log(&log.name).telemetry(observer.telemetry());
    let store = Store::<ReadOnly>::connect(config).await.unwrap();
    store.query(Filter::everything()).await.unwrap();
    store.head().await.unwrap();
    let writer = connect(log.config(), &observer).await;
    writer.append([], AppendCondition::none()).await.unwrap_err();

    for span in observer.spans() {
        let keys: HashSet<_> = span.attributes.iter().map(|pair| pair.key.as_str()).collect();

        assert_eq!(keys.len(), span.attributes.len(), "{:?}", span.attributes);
    }
}

#[tokio::test]
async fn a_span_belongs_to_the_trace_of_the_caller() {
    let (log, observer) = (Log::new().await, Observer::new());
    let store = connect(log.config(), &observer).await;
    let command = observer.tracers.tracer("library").start("lend book copy to reader");
    let context = Context::current_with_span(command);
    let caller = context.span().span_context().clone();

    let append = store.append([lent("b-1", "r-1")], AppendCondition::none());
    append.with_context(context).await.unwrap();

    let spans = observer.spans();
    assert_eq!(spans[0].parent_span_id, caller.span_id());
    assert_eq!(spans[0].span_context.trace_id(), caller.trace_id());
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
        let mut ports = span.attributes.iter().filter(|pair| pair.key.as_str() == "server.port");
        assert_eq!(ports.next_back().unwrap().value.to_string(), port, "{span:?}");
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

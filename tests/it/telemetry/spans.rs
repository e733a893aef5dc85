//! Spans: their names, attributes, parents and links, and their durations.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use eddyline::{
    AppendCondition, Config, Decision, Error, Filter, ReadOnly, ReadWrite, RetryPolicy, Store,
    Telemetry,
};
use futures_util::TryStreamExt;
use futures_util::future::join_all;
use opentelemetry::Context;
use opentelemetry::global::BoxedTracer;
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{
    FutureExt, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId,
    TraceState, Tracer, TracerProvider,
};
use opentelemetry_sdk::trace::{InMemorySpanExporter, Sampler, SdkTracerProvider, SpanData};

use super::{cancel_append, connect, hold};
use crate::support::{
    Log, Observer, attribute, lent, loans_of, unreachable_url, wait_for_lock_waiter,
};

/// Returns the spans of operations, in the order in which they ended.
fn operations(spans: &[SpanData]) -> Vec<&SpanData> {
    spans.iter().filter(|span| span.name.starts_with("eventstore.")).collect()
}

/// Returns the spans below another one.
fn below<'a>(spans: &'a [SpanData], parent: &SpanData) -> Vec<&'a SpanData> {
    let parent = parent.span_context.span_id();
    spans.iter().filter(|span| span.parent_span_id == parent).collect()
}

fn seconds(span: &SpanData) -> f64 {
    span.end_time.duration_since(span.start_time).unwrap().as_secs_f64()
}

#[tokio::test]
async fn every_operation_is_a_span_with_its_outcome() {
    let (log, observer) = (Log::new().await, Observer::new());
    let config = log.config().name("loans of \"branch\" 1\n");
    let hasty = config.clone().lock_timeout(Duration::from_millis(50));
    let store = connect(hasty.retry(RetryPolicy::never()), &observer).await;
    let patient = connect(config, &observer).await;
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
        ("eventstore.query", "success", None),
        ("eventstore.append", "success", None),
        ("eventstore.append", "conflict", Some("conflict")),
        ("eventstore.head", "success", None),
        ("eventstore.stream", "success", None),
        ("eventstore.append", "timeout", Some("transient")),
        ("eventstore.append", "canceled", None),
        ("eventstore.append", "error", Some("invalid")),
    ];
    let operations = operations(&spans);
    assert_eq!(operations.len(), expected.len());
    for (span, (name, outcome, class)) in operations.into_iter().zip(expected) {
        assert_eq!((span.name.as_ref(), &span.span_kind), (name, &SpanKind::Internal));
        for (key, value) in [
            ("operation", name.strip_prefix("eventstore.")),
            ("outcome", Some(outcome)),
            ("class", class),
            ("server", Some("primary")),
            ("store", Some("loans of \"branch\" 1\n")),
        ] {
            assert_eq!(attribute(span, key).as_deref(), value, "{key} of {span:?}");
        }
        let failed = ["timeout", "error"].contains(&outcome);
        assert_eq!(matches!(span.status, Status::Error { .. }), failed, "{span:?}");
    }
}

/// The conventions of OpenTelemetry for PostgreSQL.
#[tokio::test]
async fn every_request_is_a_span_of_kind_client_below_its_operation() {
    let (log, observer) = (Log::new().await, Observer::new());
    let config = log.config().lock_timeout(Duration::from_millis(50));
    let store = connect(config.retry(RetryPolicy::never()), &observer).await;
    store.query(Filter::everything()).await.unwrap();
    store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
    store.head().await.unwrap();
    let stream = store.stream(Filter::everything()).await.unwrap();
    stream.try_collect::<Vec<_>>().await.unwrap();
    let holder = hold(&log).await;
    store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap_err();
    drop(holder);

    let spans = observer.spans();
    let port = log.primary_url().rsplit([':', '/']).nth(1).unwrap().to_owned();
    let operations = operations(&spans);
    let names = ["query", "append", "head", "stream", "append"];
    assert_eq!(operations.len(), names.len());
    for (operation, name) in operations.iter().zip(names) {
        let requests = below(&spans, operation);
        assert_eq!(requests.len(), 1, "{operation:?}");
        let span = requests[0];
        assert_eq!((span.name.as_ref(), &span.span_kind), (name, &SpanKind::Client));
        for (key, value) in [
            ("db.system.name", "postgresql"),
            ("db.namespace", "library|public"),
            ("db.collection.name", &log.name),
            ("db.operation.name", name),
            ("server.address", "127.0.0.1"),
            ("server.port", &port),
        ] {
            assert_eq!(attribute(span, key).as_deref(), Some(value), "{key} of {span:?}");
        }
        let procedure = attribute(span, "db.stored_procedure.name");
        assert_eq!(procedure.is_some_and(|one| one.contains(&log.name)), name == "append");
        assert!(span.start_time >= operation.start_time && span.end_time <= operation.end_time);
    }
    let failed = below(&spans, operations[4])[0];
    assert_eq!(attribute(failed, "error.type").unwrap(), "55P03");
    assert_eq!(attribute(failed, "db.response.status_code").unwrap(), "55P03");
    assert!(matches!(failed.status, Status::Error { .. }));
}

/// The metric has the duration of the span, for every request.
#[tokio::test]
async fn the_duration_of_requests_is_that_of_their_spans() {
    let (log, observer) = (Log::new().await, Observer::new());
    let store = connect(log.config(), &observer).await;
    // A new store warms up its connections, without spans.
    let before = observer.histogram("db.client.operation.duration");
    for _ in 0..5 {
        store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
        store.query(Filter::everything()).await.unwrap();
    }

    let mut of_spans = BTreeMap::<String, (u64, f64)>::new();
    for span in observer.spans().iter().filter(|span| span.span_kind == SpanKind::Client) {
        let sum = of_spans.entry(span.name.to_string()).or_default();
        *sum = (sum.0 + 1, sum.1 + seconds(span));
    }
    let of_metric = observer.histogram("db.client.operation.duration");
    for (name, (count, sum)) in of_spans {
        let operation = format!("db.operation.name={name} ");
        let (attributes, metric) =
            of_metric.iter().find(|(attributes, _)| attributes.contains(&operation)).unwrap();
        let before = before.get(attributes).copied().unwrap_or_default();
        assert_eq!(metric.0 - before.0, count, "{name}");
        let seconds = metric.1 - before.1;
        assert!((seconds - sum).abs() < 1e-6, "{name}: {seconds} and {sum}");
    }
}

#[tokio::test]
async fn the_duration_of_operations_is_that_of_their_spans() {
    let (log, observer) = (Log::new().await, Observer::new());
    let store = connect(log.config(), &observer).await;
    for _ in 0..5 {
        store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();
        store.query(Filter::everything()).await.unwrap();
    }

    let spans = observer.spans();
    for name in ["append", "query"] {
        let named = spans.iter().filter(|span| span.name == format!("eventstore.{name}"));
        let of_spans: f64 = named.map(seconds).sum();
        let series = format!("operation={name} outcome=success server=primary");
        let (_, of_metric) = observer.durations()[&series];
        assert!((of_metric - of_spans).abs() < 1e-6, "{name}: {of_metric} and {of_spans}");
    }
}

/// Appends that share a batch are each a trace of their own. The batch is in one of them, and has
/// links to all.
#[tokio::test]
async fn a_batch_has_links_to_its_appends() {
    let (log, observer) = (Log::new().await, Observer::new());
    let store = connect(log.config(), &observer).await;
    store.append([lent("b-0", "r-1")], AppendCondition::none()).await.unwrap();
    let (holder, sql, key) = (hold(&log).await, log.sql().await, log.lock_key().await);
    let first = store.append([lent("b-1", "r-1")], AppendCondition::none());
    let others = async {
        wait_for_lock_waiter(&sql, key).await;
        let tracer = observer.tracers.tracer("library");
        let append = async |book: u32| {
            let context = Context::current_with_span(tracer.start("lend"));
            let events = [lent(&format!("b-{book}"), "r-1")];
            store.append(events, AppendCondition::none()).with_context(context).await.unwrap();
        };
        let appends = join_all((2..5).map(append));
        let release = async { holder.batch_execute("ROLLBACK").await.unwrap() };
        futures_util::future::join(appends, release).await;
    };
    futures_util::future::join(first, others).await.0.unwrap();

    let spans = observer.spans();
    let batches: Vec<_> = spans.iter().filter(|span| span.name == "BATCH append").collect();
    assert_eq!(batches.len(), 1, "{spans:?}");
    let batch = batches[0];
    assert_eq!(attribute(batch, "db.operation.batch.size").unwrap(), "3");
    assert_eq!(attribute(batch, "db.operation.name").unwrap(), "BATCH append");
    let linked: HashSet<_> =
        batch.links.links.iter().map(|link| link.span_context.span_id()).collect();
    let appends = operations(&spans).into_iter().map(|span| span.span_context.span_id());
    let of_batch: HashSet<_> = appends.filter(|id| linked.contains(id)).collect();
    assert_eq!((linked.len(), of_batch.len()), (3, 3));
    assert!(linked.contains(&batch.parent_span_id));
    let sizes = observer.histogram("eventstore.append.batch");
    assert_eq!(sizes[""], (3, 1.0 + 1.0 + 3.0));
}

/// The caller decides which traces are kept. A batch is kept with any of its appends.
#[tokio::test]
async fn a_batch_is_below_the_first_of_its_appends_that_is_sampled() {
    let (log, exporter) = (Log::new().await, InMemorySpanExporter::default());
    let sampler = Sampler::ParentBased(Box::new(Sampler::AlwaysOff));
    let tracers = SdkTracerProvider::builder().with_simple_exporter(exporter.clone());
    let tracers = tracers.with_sampler(sampler).build();
    let tracer = BoxedTracer::new(Box::new(tracers.tracer("eddyline")));
    let telemetry = Telemetry::new(&Observer::new().meters.meter("eddyline"), tracer);
    let config = log.config().telemetry(telemetry);
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    store.append([lent("b-0", "r-1")], AppendCondition::none()).await.unwrap();
    let (holder, sql, key) = (hold(&log).await, log.sql().await, log.lock_key().await);
    let caller = |number: u32, flags| {
        let (trace, span) = (TraceId::from(u128::from(number)), SpanId::from(u64::from(number)));
        let caller = SpanContext::new(trace, span, flags, true, TraceState::default());
        Context::new().with_remote_span_context(caller)
    };
    let append = async |number: u32| {
        let flags = TraceFlags::default().with_sampled(number == 3);
        let append = store.append([lent("b-1", "r-1")], AppendCondition::none());
        append.with_context(caller(number, flags)).await.unwrap();
    };

    let others = async {
        wait_for_lock_waiter(&sql, key).await;
        let release = async { holder.batch_execute("ROLLBACK").await.unwrap() };
        futures_util::future::join(join_all((2..5).map(append)), release).await;
    };
    futures_util::future::join(append(1), others).await;

    let spans = exporter.get_finished_spans().unwrap();
    let names: Vec<_> = spans.iter().map(|span| span.name.as_ref()).collect();
    assert_eq!(names, ["BATCH append", "eventstore.append"]);
    assert_eq!(spans[0].parent_span_id, spans[1].span_context.span_id());
    assert_eq!(spans[0].links.links.len(), 1);
    assert_eq!(spans[1].parent_span_id, SpanId::from(3));
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

/// A decision is made within the caller's span: its reads and appends are below it.
#[tokio::test]
async fn a_span_belongs_to_the_trace_of_the_caller() {
    let (log, observer) = (Log::new().await, Observer::new());
    let store = connect(log.config(), &observer).await;
    let command = observer.tracers.tracer("library").start("lend book copy to reader");
    let context = Context::current_with_span(command);
    let caller = context.span().span_context().clone();

    let decided =
        store.decide(loans_of("b-1"), |_| Ok::<_, Error>(Decision::append([lent("b-1", "r-1")])));
    decided.with_context(context).await.unwrap();

    let spans = observer.spans();
    let operations = operations(&spans);
    let names: Vec<_> = operations.iter().map(|span| span.name.as_ref()).collect();
    assert_eq!(names, ["eventstore.query", "eventstore.append"]);
    for operation in operations {
        assert_eq!(operation.parent_span_id, caller.span_id());
        let requests = below(&spans, operation);
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].span_context.trace_id(), caller.trace_id());
    }
    assert!(
        spans.iter().all(|span| span.parent_span_id != SpanId::INVALID || span.name != "query")
    );
}

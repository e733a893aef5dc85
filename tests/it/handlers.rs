//! Handlers of applications: their metrics, and the spans of their calls.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use eddyline::retry::Retry;
use eddyline::telemetry::{HandlerKind, HandlerOutcome};
use eddyline::{AppendCondition, Decision, Error, ReadWrite, RetryPolicy, Store, Telemetry};
use futures_util::FutureExt as _;
use futures_util::future::{pending, ready};
use opentelemetry::Context;
use opentelemetry::global::BoxedTracer;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::noop::NoopTracer;
use opentelemetry::trace::{
    FutureExt as _, SpanId, SpanKind, Status, TraceContextExt, Tracer, TracerProvider,
};
use opentelemetry_sdk::trace::SpanData;

use crate::support::{Log, Observer, attribute, lent, loans_of, series, wait};

const OUTCOMES: [HandlerOutcome; 7] = [
    HandlerOutcome::Canceled,
    HandlerOutcome::Conflict,
    HandlerOutcome::Error,
    HandlerOutcome::Idempotent,
    HandlerOutcome::Rejected,
    HandlerOutcome::Success,
    HandlerOutcome::Timeout,
];

fn outcomes(observer: &Observer) -> BTreeMap<String, u64> {
    observer.counted("eventstore.handler.outcomes")
}

/// Returns the durations that were recorded: a series without values may be exported or not.
fn durations(observer: &Observer) -> BTreeMap<String, (u64, f64)> {
    let mut durations = observer.histogram("eventstore.handler.duration");
    durations.retain(|_, (count, _)| *count > 0);
    durations
}

fn only<'a>(spans: &'a [SpanData], name: &str) -> &'a SpanData {
    let mut named = spans.iter().filter(|span| span.name == name);
    match (named.next(), named.next()) {
        (Some(span), None) => span,
        other => panic!("not one {name}: {other:?}"),
    }
}

#[tokio::test]
async fn every_call_is_counted_once_by_its_outcome() {
    let observer = Observer::new();
    let handler = observer.telemetry().handler(HandlerKind::Command, "LendBookCopyToReader");

    for (calls, outcome) in (1_u64..).zip(OUTCOMES) {
        for call in 0..calls {
            assert_eq!(handler.run(ready(call), |_| outcome).await, call);
        }
    }

    let expected: BTreeMap<_, _> = (1..)
        .zip(OUTCOMES)
        .map(|(calls, outcome)| {
            let outcome = outcome.as_str();
            (format!("kind=command name=LendBookCopyToReader outcome={outcome}"), calls)
        })
        .collect();
    assert_eq!(outcomes(&observer), expected);
    let counts = durations(&observer).into_iter().map(|(series, (count, _))| (series, count));
    assert_eq!(counts.collect::<BTreeMap<_, _>>(), expected);
}

/// A rate query ignores the first value of a counter, so counters have to start at zero.
#[tokio::test]
async fn the_series_of_a_handler_exist_before_its_first_call() {
    let observer = Observer::new();
    let telemetry = observer.telemetry();

    let _handler = telemetry.handler(HandlerKind::Query, "BooksLentOut");

    let exported = observer.counter("eventstore.handler.outcomes");
    let expected = OUTCOMES
        .map(|outcome| (format!("kind=query name=BooksLentOut outcome={}", outcome.as_str()), 0));
    assert_eq!(exported, expected.into());
}

#[tokio::test]
async fn a_dropped_call_is_canceled() {
    let observer = Observer::new();
    let handler = observer.telemetry().handler(HandlerKind::Query, "BooksLentOut");

    let call = handler.run(pending::<()>(), |_| HandlerOutcome::Success);
    assert_eq!(call.now_or_never(), None);
    drop(handler.run(pending::<()>(), |_| HandlerOutcome::Success));

    // The second call was never polled.
    assert_eq!(outcomes(&observer), series([("kind=query name=BooksLentOut outcome=canceled", 1)]));
    assert_eq!(attribute(only(&observer.spans(), "BooksLentOut"), "outcome").unwrap(), "canceled");
}

#[tokio::test]
async fn a_call_that_panics_is_canceled() {
    let observer = Observer::new();
    let handler = observer.telemetry().handler(HandlerKind::Query, "BooksLentOut");

    let broken = handler.run(async { panic!("in the call") }, |()| HandlerOutcome::Success);
    AssertUnwindSafe(broken).catch_unwind().await.unwrap_err();
    let broken = handler.run(ready(()), |()| panic!("in the outcome"));
    AssertUnwindSafe(broken).catch_unwind().await.unwrap_err();

    assert_eq!(outcomes(&observer), series([("kind=query name=BooksLentOut outcome=canceled", 2)]));
}

#[tokio::test]
async fn the_duration_is_that_of_the_call_in_seconds() {
    let observer = Observer::new();
    let handler = observer.telemetry().handler(HandlerKind::Query, "BooksLentOut");
    let pass = async |time: Duration| {
        let began = Instant::now();
        while began.elapsed() < time {
            tokio::task::yield_now().await;
        }
        began.elapsed()
    };

    let call = handler.run(pass(Duration::from_millis(5)), |_| HandlerOutcome::Success);
    // The call begins when it is first polled.
    pass(Duration::from_millis(20)).await;
    let began = Instant::now();
    let inside = call.await;
    let outside = began.elapsed();

    let (count, seconds) = durations(&observer)["kind=query name=BooksLentOut outcome=success"];
    assert_eq!(count, 1);
    assert!((inside.as_secs_f64()..=outside.as_secs_f64()).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn names_beyond_the_limit_share_series() {
    let observer = Observer::new();
    let telemetry = observer.telemetry();

    for number in 0..10_000 {
        let handler = telemetry.handler(HandlerKind::Command, &format!("command {number}"));
        handler.run(ready(()), |_| HandlerOutcome::Success).await;
    }
    let query = telemetry.handler(HandlerKind::Query, "query");
    query.run(ready(()), |_| HandlerOutcome::Success).await;
    // A name of its own keeps its series.
    let first = telemetry.handler(HandlerKind::Command, "command 0");
    first.run(ready(()), |_| HandlerOutcome::Success).await;

    let counts = outcomes(&observer);
    assert_eq!(counts["kind=command name=command 0 outcome=success"], 2);
    assert_eq!(counts["kind=command name=command 63 outcome=success"], 1);
    assert_eq!(counts["kind=command name=other outcome=success"], 10_000 - 64);
    assert_eq!(counts["kind=query name=other outcome=success"], 1);
    assert_eq!(counts.values().sum::<u64>(), 10_002);
    let exported = observer.counter("eventstore.handler.outcomes");
    assert_eq!(exported.len(), (64 + 2) * OUTCOMES.len());
}

#[test]
fn threads_that_make_handlers_at_once_keep_the_limit() {
    let observer = Observer::new();
    let telemetry = observer.telemetry();

    let barrier = Barrier::new(8);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (telemetry, barrier) = (&telemetry, &barrier);
            scope.spawn(move || {
                barrier.wait();
                for number in 0..100 {
                    let name = format!("{thread} {number}");
                    let handler = telemetry.handler(HandlerKind::Query, &name);
                    let call = handler.run(ready(()), |_| HandlerOutcome::Success);
                    call.now_or_never().unwrap();
                }
            });
        }
    });

    let counts = outcomes(&observer);
    assert_eq!(counts.len(), 65);
    assert_eq!(counts["kind=query name=other outcome=success"], 800 - 64);
}

#[tokio::test]
async fn a_name_may_have_any_characters() {
    let observer = Observer::new();
    let name = "lend \"b-7\"\nto {r-1}";

    let handler = observer.telemetry().handler(HandlerKind::Command, name);
    handler.run(ready(()), |_| HandlerOutcome::Rejected).await;

    assert_eq!(
        outcomes(&observer),
        [(format!("kind=command name={name} outcome=rejected"), 1)].into()
    );
    assert_eq!(only(&observer.spans(), name).span_kind, SpanKind::Internal);
}

#[tokio::test]
async fn a_call_is_a_span_below_that_of_the_caller() {
    let observer = Observer::new();
    let handler = observer.telemetry().handler(HandlerKind::Command, "LendBookCopyToReader");
    let request = observer.tracers.tracer("library").start("request");
    let context = Context::current_with_span(request);
    let caller = context.span().span_context().clone();

    for outcome in OUTCOMES {
        handler.run(ready(()), move |_| outcome).with_context(context.clone()).await;
    }

    let spans = observer.spans();
    assert_eq!(spans.len(), OUTCOMES.len());
    for (span, outcome) in spans.iter().zip(OUTCOMES) {
        assert_eq!(
            (span.name.as_ref(), &span.span_kind),
            ("LendBookCopyToReader", &SpanKind::Internal)
        );
        assert_eq!(span.parent_span_id, caller.span_id());
        assert_eq!(span.span_context.trace_id(), caller.trace_id());
        assert_eq!(attribute(span, "kind").unwrap(), "command");
        assert_eq!(attribute(span, "outcome").unwrap(), outcome.as_str());
        let is_failure = matches!(outcome, HandlerOutcome::Error | HandlerOutcome::Timeout);
        assert_eq!(matches!(span.status, Status::Error { .. }), is_failure, "{span:?}");
    }
}

/// The span of the caller has another tracer, which has a provider.
#[tokio::test(start_paused = true)]
async fn without_a_provider_of_traces_the_span_of_the_caller_stays_current() {
    let observer = Observer::new();
    let tracer = BoxedTracer::new(Box::new(NoopTracer::new()));
    let telemetry = Telemetry::new(&observer.meters.meter("eddyline"), tracer);
    let handler = telemetry.handler(HandlerKind::Command, "LendBookCopyToReader");
    let policy = RetryPolicy::builder().attempts(2).build().unwrap();
    let context = Context::current_with_span(observer.tracers.tracer("library").start("request"));

    let mut replies = [Err(Error::QueueFull { waiting: 8 }), Ok(())].into_iter();
    let retry = Retry::new(&policy, || ready(replies.next().unwrap()));
    let call = handler.run(retry.telemetry(&telemetry, "lend"), |_| HandlerOutcome::Error);
    let _ = call.with_context(context.clone()).await;

    assert_eq!(observer.spans().len(), 0);
    drop(context);
    let spans = observer.spans();
    let [request] = spans.as_slice() else { panic!("{spans:?}") };
    assert_eq!(
        request.events.iter().map(|event| &event.name).collect::<Vec<_>>(),
        ["eventstore.retry"]
    );
    assert_eq!((attribute(request, "outcome"), &request.status), (None, &Status::Unset));
}

/// The conflicts and retries of a decision are inside of one call.
#[tokio::test(flavor = "multi_thread")]
async fn the_operations_and_retries_of_a_call_are_below_its_span() {
    let (log, observer) = (Log::new().await, Observer::new());
    let other = log.writer().await;
    let config = log.config().telemetry(observer.telemetry());
    let store = Store::<ReadWrite>::connect(config).await.unwrap();
    let policy = RetryPolicy::builder().attempts(5).no_escalation().build().unwrap();
    let (store, handler) =
        store.with_retry_policy(policy).handler(HandlerKind::Command, "LendBookCopyToReader");
    let rounds = AtomicU32::new(0);

    let decided = store.decide(loans_of("b-1"), |_| {
        if rounds.fetch_add(1, Ordering::Relaxed) < 2 {
            wait(other.append([lent("b-1", "r-2")], AppendCondition::none())).unwrap();
        }
        Ok::<_, Error>(Decision::append([lent("b-1", "r-1")]))
    });
    let decided = handler.run(decided, HandlerOutcome::of_result).await.unwrap();

    assert_eq!(decided.attempts(), 3);
    assert_eq!(
        outcomes(&observer),
        series([("kind=command name=LendBookCopyToReader outcome=success", 1)])
    );
    let spans = observer.spans();
    let call = only(&spans, "LendBookCopyToReader");
    assert_eq!(call.parent_span_id, SpanId::INVALID);
    let below = |parent: &SpanData, name| {
        let is_child = |span: &&SpanData| span.parent_span_id == parent.span_context.span_id();
        spans.iter().filter(is_child).filter(|span| span.name == name).count()
    };
    assert_eq!((below(call, "eventstore.query"), below(call, "eventstore.append")), (3, 3));
    let names: Vec<_> = call.events.iter().map(|event| event.name.as_ref()).collect();
    assert_eq!(names, ["eventstore.retry"; 2]);
    for (event, attempt) in call.events.iter().zip(["2", "3"]) {
        let value = |key: &str| {
            let pair = event.attributes.iter().find(|pair| pair.key.as_str() == key).unwrap();
            pair.value.to_string()
        };
        let expected = ("LendBookCopyToReader", "conflict", attempt);
        let values = (value("scope"), value("reason"), value("attempt"));
        assert_eq!((values.0.as_str(), values.1.as_str(), values.2.as_str()), expected);
    }
}

#[tokio::test]
async fn a_handler_of_a_store_gives_its_name_to_the_scope() {
    let (log, observer) = (Log::new().await, Observer::new());
    let config = log.config().telemetry(observer.telemetry());
    let store = Store::<ReadWrite>::connect(config).await.unwrap();

    let (store, handler) = store.handler(HandlerKind::Query, "BooksLentOut");
    handler.run(store.query(loans_of("b-1")), HandlerOutcome::of_result).await.unwrap();

    assert_eq!(
        observer.counted("eventstore.retry.outcomes"),
        series([("outcome=first_try scope=BooksLentOut", 1)])
    );
    assert_eq!(outcomes(&observer), series([("kind=query name=BooksLentOut outcome=success", 1)]));
}

#[tokio::test]
async fn clones_and_equal_handlers_share_series_in_any_task() {
    let observer = Observer::new();
    let (one, other) = (observer.telemetry(), observer.telemetry());
    let handler = one.handler(HandlerKind::Query, "BooksLentOut");

    let equal = other.handler(HandlerKind::Query, "BooksLentOut");
    let tasks = [handler.clone(), handler, equal].map(|handler| {
        tokio::spawn(async move { handler.run(ready(()), |_| HandlerOutcome::Success).await })
    });
    for task in tasks {
        task.await.unwrap();
    }

    assert_eq!(outcomes(&observer), series([("kind=query name=BooksLentOut outcome=success", 3)]));
}

#[tokio::test]
async fn calls_go_on_after_the_providers_were_shut_down() {
    let observer = Observer::new();
    let handler = observer.telemetry().handler(HandlerKind::Query, "BooksLentOut");
    observer.meters.shutdown().unwrap();
    observer.tracers.shutdown().unwrap();

    let answer = handler.run(ready(7), |_| HandlerOutcome::Success).await;

    assert_eq!(answer, 7);
}

#[tokio::test]
async fn errors_of_a_store_are_conflicts_timeouts_or_errors() {
    let log = Log::new().await;
    let store = log.writer().await;
    let history = store.query(loans_of("b-1")).await.unwrap();
    store.append([lent("b-1", "r-1")], AppendCondition::none()).await.unwrap();

    let conflict = store.append([lent("b-1", "r-1")], history.condition()).await.unwrap_err();
    let waited = Duration::from_secs(1);
    let timeout = Error::TimedOut { server: "primary".to_owned(), waited };
    let invalid = store.append([], AppendCondition::none()).await.unwrap_err();

    assert_eq!(HandlerOutcome::of_error(&conflict), HandlerOutcome::Conflict);
    assert_eq!(HandlerOutcome::of_result::<()>(&Err(conflict)), HandlerOutcome::Conflict);
    assert_eq!(HandlerOutcome::of_error(&timeout), HandlerOutcome::Timeout);
    assert_eq!(HandlerOutcome::of_error(&invalid), HandlerOutcome::Error);
}

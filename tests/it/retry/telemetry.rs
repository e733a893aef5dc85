//! Metrics and span events of retries.

use std::time::Duration;

use eddyline::RetryPolicy;
use eddyline::retry::{Retry, RetryBudget};
use opentelemetry::Context;
use opentelemetry::trace::{FutureExt, TraceContextExt, Tracer, TracerProvider};

use super::{Failure, ms, plain, script};
use crate::support::{Observer, series};

const NOW: Duration = Duration::ZERO;

#[tokio::test(start_paused = true)]
async fn every_call_is_counted_once_under_its_outcome() {
    let observer = Observer::new();
    let telemetry = observer.telemetry();
    let open = plain(3).build().unwrap();
    let hasty = plain(3).deadline(ms(5)).build().unwrap();
    let spent = plain(4).budget(RetryBudget::new(1, 0.0).unwrap()).build().unwrap();
    let slow = Failure::Transient;

    for (policy, steps) in [
        (&open, vec![]),
        (&open, vec![]),
        (&open, vec![slow]),
        (&open, vec![slow; 2]),
        (&open, vec![slow; 3]),
        (&open, vec![Failure::Invalid]),
        (&open, vec![slow, Failure::Conflict]),
        (&hasty, vec![slow]),
        (&spent, vec![slow; 2]),
    ] {
        let mut steps = steps.into_iter();
        let operation = || std::future::ready(steps.next().map_or(Ok(()), Err));
        let _ = Retry::new(policy, operation).telemetry(&telemetry, "query").await;
    }

    let cut = plain(2).attempt_timeout(ms(20)).build().unwrap();
    let endless = Retry::new(&cut, std::future::pending::<Result<(), Failure>>);
    let _ = endless.telemetry(&telemetry, "query").await;

    assert_eq!(
        observer.counter("eventstore.retry.outcomes"),
        series([
            ("outcome=budget scope=query", 1),
            ("outcome=canceled scope=query", 0),
            ("outcome=deadline scope=query", 1),
            ("outcome=exhausted scope=query", 2),
            ("outcome=first_try scope=query", 2),
            ("outcome=permanent scope=query", 2),
            ("outcome=recovered scope=query", 2),
        ])
    );
    let attempts = observer.counted("eventstore.retry.attempts");
    assert_eq!(
        attempts,
        series([
            ("attempt=2 reason=timeout scope=query", 1),
            ("attempt=2 reason=transient scope=query", 5),
            ("attempt=3 reason=transient scope=query", 2),
        ])
    );
    let (count, seconds) = observer.histogram("eventstore.retry.delay")["scope=query"];
    assert_eq!(count, 8);
    assert!((seconds - (6.0 * 0.01 + 2.0 * 0.02)).abs() < 1e-9, "{seconds}");
}

#[tokio::test(start_paused = true)]
async fn attempts_after_the_sixth_share_a_series() {
    let observer = Observer::new();
    let (telemetry, policy) = (observer.telemetry(), plain(20).build().unwrap());

    let retried = Retry::new(&policy, script([(NOW, Failure::Conflict); 9]))
        .when(|_| true)
        .telemetry(&telemetry, "decide")
        .await;

    assert_eq!(retried.attempts(), 10);
    let attempts = observer.counted("eventstore.retry.attempts");
    assert_eq!(
        attempts,
        series([
            ("attempt=2 reason=conflict scope=decide", 1),
            ("attempt=3 reason=conflict scope=decide", 1),
            ("attempt=4 reason=conflict scope=decide", 1),
            ("attempt=5 reason=conflict scope=decide", 1),
            ("attempt=6 reason=conflict scope=decide", 1),
            ("attempt=more reason=conflict scope=decide", 4),
        ])
    );
}

/// A rate query ignores the first value of a counter, so counters have to start at zero.
#[tokio::test(start_paused = true)]
async fn the_series_of_a_scope_exist_from_its_first_call() {
    let observer = Observer::new();
    let telemetry = observer.telemetry();

    for scope in ["query", "append", "query"] {
        let policy = RetryPolicy::never();
        let _ = Retry::new(&policy, script([])).telemetry(&telemetry, scope).await;
    }

    let attempts = observer.counter("eventstore.retry.attempts");
    assert_eq!(attempts.len(), 2 * 4 * 6);
    assert!(attempts.values().all(|count| *count == 0));
    assert_eq!(observer.counter("eventstore.retry.outcomes").len(), 2 * 7);
}

#[tokio::test(start_paused = true)]
async fn retry_instruments_have_a_unit_and_a_description() {
    let observer = Observer::new();
    let (telemetry, policy) = (observer.telemetry(), plain(2).build().unwrap());

    let _ = Retry::new(&policy, script([(NOW, Failure::Transient)]))
        .telemetry(&telemetry, "query")
        .await;

    for (name, unit) in [
        ("eventstore.retry.attempts", "{attempt}"),
        ("eventstore.retry.delay", "s"),
        ("eventstore.retry.outcomes", "{call}"),
    ] {
        let texts = observer
            .instrument(name, |metric| (metric.unit().to_owned(), metric.description().to_owned()));
        assert_eq!(texts.0, unit, "{name}");
        assert!(!texts.1.is_empty(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_adds_an_event_to_the_span_of_the_caller() {
    let observer = Observer::new();
    let (telemetry, policy) = (observer.telemetry(), plain(2).build().unwrap());
    let command = observer.tracers.tracer("library").start("lend book copy to reader");

    let call =
        Retry::new(&policy, script([(NOW, Failure::Transient)])).telemetry(&telemetry, "query");
    let _ = call.with_context(Context::current_with_span(command)).await;

    let spans = observer.spans();
    let events: Vec<_> = spans[0].events.iter().collect();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].name, "eventstore.retry");
    let texts: Vec<_> =
        events[0].attributes.iter().map(|pair| format!("{}={}", pair.key, pair.value)).collect();
    assert_eq!(texts, ["scope=query", "reason=transient", "attempt=2", "pause=0.01"]);
}

//! Calls that are dropped, panic or are polled after completion.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use eddyline::RetryPolicy;
use eddyline::retry::Retry;
use futures_util::FutureExt;
use tokio::time::advance;

use super::{Failure, ms, plain, script};
use crate::support::Observer;

/// Returns a policy with a first delay of 100 ms.
fn slow() -> RetryPolicy {
    plain(8).base_delay(ms(100)).build().unwrap()
}

fn outcomes(observer: &Observer) -> Vec<(String, u64)> {
    let outcomes = observer.counted("eventstore.retry.outcomes");
    outcomes.into_iter().collect()
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_never_polled_is_not_counted() {
    let (observer, policy) = (Observer::new(), RetryPolicy::default());
    let telemetry = observer.telemetry();

    drop(Retry::new(&policy, script([])).telemetry(&telemetry, "query"));
    Retry::new(&policy, script([])).telemetry(&telemetry, "query").await.into_result().unwrap();

    assert_eq!(outcomes(&observer), [("outcome=first_try scope=query".to_owned(), 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_during_an_attempt_is_canceled_with_it() {
    let (observer, policy, held) = (Observer::new(), slow(), Arc::new(()));
    let telemetry = observer.telemetry();

    let call = Retry::new(&policy, || {
        let held = held.clone();
        async move {
            let _held = held;
            pending::<Result<(), Failure>>().await
        }
    });
    let mut call = Box::pin(call.telemetry(&telemetry, "query"));
    assert!(call.as_mut().now_or_never().is_none());
    assert_eq!(Arc::strong_count(&held), 2);
    drop(call);

    assert_eq!(Arc::strong_count(&held), 1);
    assert_eq!(outcomes(&observer), [("outcome=canceled scope=query".to_owned(), 1)]);
}

#[tokio::test(start_paused = true)]
async fn the_elapsed_part_of_a_dropped_pause_is_recorded() {
    let (observer, policy) = (Observer::new(), slow());
    let telemetry = observer.telemetry();

    let call = Retry::new(&policy, script([(Duration::ZERO, Failure::Transient)]));
    let mut call = Box::pin(call.telemetry(&telemetry, "query"));
    assert!(call.as_mut().now_or_never().is_none());
    advance(ms(30)).await;
    assert!(call.as_mut().now_or_never().is_none());
    drop(call);

    assert_eq!(outcomes(&observer), [("outcome=canceled scope=query".to_owned(), 1)]);
    let delays = observer.histogram("eventstore.retry.delay");
    assert_eq!(delays["scope=query"], (1, 0.03));
}

#[tokio::test(start_paused = true)]
async fn a_finished_call_is_counted_once() {
    let (observer, policy) = (Observer::new(), slow());
    let telemetry = observer.telemetry();

    let mut call = Box::pin(Retry::new(&policy, script([])).telemetry(&telemetry, "query"));
    call.as_mut().await.into_result().unwrap();
    drop(call);

    assert_eq!(outcomes(&observer), [("outcome=first_try scope=query".to_owned(), 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_operation_is_propagated() {
    let (observer, held) = (Observer::new(), Arc::new(()));
    let (telemetry, kept) = (observer.telemetry(), held.clone());

    let call = tokio::spawn(async move {
        let policy = slow();
        let operation = async || {
            let _kept = &kept;
            tokio::time::sleep(ms(5)).await;
            if true {
                panic!("book copy b-7 is lost");
            }
            Ok::<(), Failure>(())
        };
        Retry::new(&policy, operation).telemetry(&telemetry, "query").await.into_result()
    });
    let panic = call.await.unwrap_err().into_panic();

    assert_eq!(panic.downcast_ref(), Some(&"book copy b-7 is lost"));
    assert_eq!(Arc::strong_count(&held), 1);
    assert_eq!(outcomes(&observer), [("outcome=canceled scope=query".to_owned(), 1)]);
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "`Retry` polled after completion")]
async fn a_finished_call_panics_when_polled() {
    let policy = RetryPolicy::never();
    let mut call = pin!(Retry::new(&policy, script([])));
    let _ = call.as_mut().await;

    let _ = call.as_mut().await;
}

#[tokio::test(start_paused = true)]
async fn the_debug_output_of_a_call_shows_its_state_only() {
    let policy = slow();
    let steps = [(ms(5), Failure::Transient)];
    let mut call = pin!(Retry::new(&policy, script(steps)));
    let mut shown = vec![format!("{call:?}")];

    for time in [0, 5, 100] {
        advance(ms(time)).await;
        let _ = call.as_mut().now_or_never();
        shown.push(format!("{call:?}"));
    }

    let expected = ["ready", "running", "waiting", "done"]
        .map(|state| format!("Retry {{ state: {state:?}, .. }}"));
    assert_eq!(shown, expected);
}

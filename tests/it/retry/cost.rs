//! The overhead of a call: allocations, timers and auto traits.

use std::cell::Cell;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use eddyline::retry::{Retried, Retry, RetryBudget, RetryOutcome};
use eddyline::{Config, Error, Filter, ReadOnly, ReadWrite, RetryPolicy, Store};
use futures_util::FutureExt;

use super::{Failure, plain};

fn lend() -> Ready<Result<u64, Failure>> {
    ready(Ok(black_box(7)))
}

#[test]
fn a_ready_operation_allocates_nothing() {
    let policy = RetryPolicy::default();
    let call = || pin!(Retry::new(&policy, lend).notify(|_| ())).now_or_never();

    let allocated = allocation_counter::measure(|| {
        black_box(call());
    });

    assert_eq!(allocated.count_total, 0);
    assert_eq!(call().unwrap().outcome(), RetryOutcome::FirstTry);
}

/// Timers and tokio's clock need a runtime. This test has none.
#[test]
fn a_ready_operation_needs_no_timer() {
    let policy = RetryPolicy::default();

    let done = Retry::new(&policy, lend).now_or_never().unwrap();
    let failed = Retry::new(&policy, || ready(Err::<(), _>(Failure::Invalid))).now_or_never();

    assert_eq!(done.into_result(), Ok(7));
    assert_eq!(failed.unwrap().outcome(), RetryOutcome::Permanent);
}

/// A timer would wait for the next millisecond. The call yields to other tasks instead.
#[test]
fn a_zero_pause_yields_and_needs_no_timer() {
    let policy = plain(3).base_delay(Duration::ZERO).build().unwrap();
    let mut attempts = 0;
    let mut call = pin!(Retry::new(&policy, || {
        attempts += 1;
        ready(Err::<(), _>(Failure::Transient))
    }));

    let polls = std::iter::from_fn(|| Some(call.as_mut().now_or_never())).take(3);
    let polls: Vec<_> = polls.map(|polled| polled.map(|retried| retried.attempts())).collect();

    assert_eq!(polls, [None, None, Some(3)]);
    assert_eq!(attempts, 3);
}

fn assert_send<T: Send>(value: T) -> T {
    value
}

fn assert_shared<T: Send + Sync + 'static>() {}

#[test]
fn a_call_is_send_if_its_parts_are() {
    let policy = RetryPolicy::default();
    let telemetry = eddyline::Telemetry::default();

    let call = assert_send(
        Retry::new(&policy, lend)
            .when(|_| true)
            .notify(|_| ())
            .adjust(|_, pause| pause)
            .backoff([])
            .telemetry(&telemetry, "query")
            .without_timeouts(),
    );

    drop(call);
    assert_shared::<RetryPolicy>();
    assert_shared::<RetryBudget>();
    assert_shared::<Retried<u64, Error>>();
}

/// This function only has to compile.
#[expect(dead_code, reason = "nothing has to run it")]
async fn reads_and_appends_can_be_retried_in_a_spawned_task(store: Store<ReadWrite>) {
    let read_only = Store::<ReadOnly>::connect(Config::new("postgres://replica").unwrap());
    let reader = read_only.await.unwrap();
    tokio::spawn(async move {
        let (policy, filter) = (RetryPolicy::default(), Filter::everything());
        Retry::new(&policy, || reader.query(&filter)).await.attempts();
        Retry::new(&policy, || store.head()).await.attempts();
    });
}

#[tokio::test]
async fn a_call_with_parts_that_are_not_send_works_on_its_thread() {
    let (policy, calls) = (RetryPolicy::default(), Rc::new(Cell::new(0)));

    let retried = Retry::new(&policy, || {
        calls.set(calls.get() + 1);
        lend()
    });

    assert_eq!(retried.await.into_result(), Ok(7));
    assert_eq!(calls.get(), 1);
    let assert_shared = Arc::new(policy);
    assert_eq!(Retry::new(&assert_shared, lend).await.attempts(), 1);
}

//! The hooks `when`, `notify` and `adjust`, and the outcomes that they decide.

use std::iter;
use std::sync::Mutex;
use std::time::Duration;

use eddyline::retry::{AttemptError, Retry, RetryOutcome};
use eddyline::{Class, Error, RetryPolicy, SequenceNumber};

use super::{Failure, ms, plain, script, summary};

const NOW: Duration = Duration::ZERO;

#[tokio::test(start_paused = true)]
async fn an_operation_that_succeeds_is_called_once() {
    let policy = plain(8).build().unwrap();

    let retried = Retry::new(&policy, script([])).await;

    assert_eq!(summary(&retried), (RetryOutcome::FirstTry, 1, ms(0)));
    assert_eq!(retried.last_error(), None);
    assert_eq!(retried.into_result(), Ok("lent"));
}

#[tokio::test(start_paused = true)]
async fn a_recovered_call_keeps_its_last_error() {
    let policy = plain(8).build().unwrap();
    let failures = [(NOW, Failure::Transient); 3];

    let retried = Retry::new(&policy, script(failures)).await;

    assert_eq!(summary(&retried), (RetryOutcome::Recovered, 4, ms(10 + 20 + 40)));
    assert_eq!(retried.last_error(), Some(&AttemptError::Error(Failure::Transient)));
    assert_eq!(retried.into_result(), Ok("lent"));
}

#[tokio::test(start_paused = true)]
async fn the_first_attempt_counts_as_an_attempt() {
    let policy = plain(3).build().unwrap();

    let retried = Retry::new(&policy, script([(NOW, Failure::Transient); 3])).await;

    assert_eq!(summary(&retried), (RetryOutcome::Exhausted, 3, ms(10 + 20)));
    assert_eq!(retried.into_result(), Err(AttemptError::Error(Failure::Transient)));
}

#[tokio::test(start_paused = true)]
async fn only_transient_errors_are_retried() {
    let policy = plain(8).build().unwrap();
    for fault in [Failure::Conflict, Failure::Invalid, Failure::Timeout, Failure::Unknown] {
        let retried = Retry::new(&policy, script([(NOW, fault)])).await;

        assert_eq!(summary(&retried), (RetryOutcome::Permanent, 1, ms(0)));
        assert_eq!(retried.into_result(), Err(AttemptError::Error(fault)));
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_crate_is_classified_by_itself() {
    let (mut calls, policy) = (0, plain(2).build().unwrap());
    let lost = || Error::ConnectionLost {
        server: "primary localhost:5432".to_owned(),
        source: std::sync::Arc::new(std::io::Error::other("reset")),
    };

    let retried = Retry::new(&policy, || {
        calls += 1;
        let lost = lost();
        async move { Err::<SequenceNumber, _>(lost) }
    })
    .await;

    assert_eq!(retried.outcome(), RetryOutcome::Exhausted);
    assert_eq!(calls, 2);
}

#[tokio::test(start_paused = true)]
async fn when_selects_the_errors_to_retry() {
    let policy = plain(8).build().unwrap();
    let failures = [(NOW, Failure::Conflict), (NOW, Failure::Conflict), (NOW, Failure::Transient)];

    let retried =
        Retry::new(&policy, script(failures)).when(|error| *error == Failure::Conflict).await;

    assert_eq!(summary(&retried), (RetryOutcome::Permanent, 3, ms(30)));
    assert_eq!(retried.into_result(), Err(AttemptError::Error(Failure::Transient)));
}

#[tokio::test(start_paused = true)]
async fn notify_is_called_before_each_pause() {
    let policy = plain(8).build().unwrap();
    let failures = [(ms(5), Failure::Transient), (NOW, Failure::Timeout), (NOW, Failure::Invalid)];
    let (mut notified, started) = (Vec::new(), tokio::time::Instant::now());

    Retry::new(&policy, script(failures))
        .when(|error| *error != Failure::Invalid)
        .notify(|retrying| {
            let at = started.elapsed();
            let error = retrying.error().error().copied();
            notified.push((at, retrying.attempt(), retrying.pause(), retrying.class(), error));
        })
        .await
        .into_result()
        .unwrap_err();

    assert_eq!(
        notified,
        [
            (ms(5), 2, ms(10), Class::Transient, Some(Failure::Transient)),
            (ms(15), 3, ms(20), Class::Timeout, Some(Failure::Timeout)),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn adjust_can_lengthen_a_pause_and_end_the_call() {
    let policy = plain(8).build().unwrap();
    let failures = [(NOW, Failure::Transient), (NOW, Failure::Transient), (NOW, Failure::Timeout)];
    let started = tokio::time::Instant::now();

    let retried = Retry::new(&policy, script(failures))
        .when(|_| true)
        .adjust(|error, pause| (*error == Failure::Transient).then(|| pause.unwrap() * 3))
        .await;

    assert_eq!(summary(&retried), (RetryOutcome::Exhausted, 3, ms(30 + 60)));
    assert_eq!(started.elapsed(), ms(90));
}

#[tokio::test(start_paused = true)]
async fn adjust_can_continue_after_the_end_of_the_backoff() {
    let policy = plain(2).build().unwrap();
    let given = Mutex::new(Vec::new());

    let retried = Retry::new(&policy, script([(NOW, Failure::Transient); 4]))
        .adjust(|_, pause| {
            given.lock().unwrap().push(pause);
            Some(pause.unwrap_or(ms(7)))
        })
        .await;

    assert_eq!(summary(&retried), (RetryOutcome::Recovered, 5, ms(10 + 3 * 7)));
    assert_eq!(given.into_inner().unwrap(), [Some(ms(10)), None, None, None]);
}

#[tokio::test(start_paused = true)]
async fn a_backoff_is_any_iterator_of_durations() {
    let policy = plain(4).build().unwrap();
    let call = || Retry::new(&policy, script([(NOW, Failure::Transient); 9]));

    let array = call().backoff([3, 1].map(ms)).await;
    let endless = call().backoff(iter::repeat(ms(2))).await;
    let empty = call().backoff([]).await;
    let instant = call().backoff([Duration::ZERO; 2]).await;

    assert_eq!(summary(&array), (RetryOutcome::Exhausted, 3, ms(4)));
    assert_eq!(summary(&endless), (RetryOutcome::Exhausted, 4, ms(6)));
    assert_eq!(summary(&empty), (RetryOutcome::Exhausted, 1, ms(0)));
    assert_eq!(summary(&instant), (RetryOutcome::Exhausted, 3, ms(0)));
}

/// The operation and the hooks are `FnMut`: they may change captured variables.
#[tokio::test(start_paused = true)]
async fn the_operation_and_the_hooks_can_change_captured_variables() {
    let (mut attempts, mut when_calls, mut notify_calls) = (0, 0, 0);
    let policy = plain(5).build().unwrap();

    let retried = Retry::classify_with(
        &policy,
        || {
            attempts += 1;
            std::future::ready(if attempts < 4 { Err("reset") } else { Ok(attempts) })
        },
        |_: &&str| Class::Transient,
    )
    .when(|_| {
        when_calls += 1;
        true
    })
    .notify(|_| notify_calls += 1)
    .await;

    assert_eq!(retried.into_result(), Ok(4));
    assert_eq!((attempts, when_calls, notify_calls), (4, 3, 3));
}

#[tokio::test(start_paused = true)]
async fn the_policy_never_makes_one_attempt() {
    let retried = Retry::new(&RetryPolicy::never(), script([(NOW, Failure::Transient)])).await;

    assert_eq!(summary(&retried), (RetryOutcome::Exhausted, 1, ms(0)));
}

#[test]
fn attempt_errors_describe_their_cause() {
    let cut: AttemptError<Error> = AttemptError::TimedOut(ms(250));
    let invalid: AttemptError<Error> =
        AttemptError::Error(RetryPolicy::builder().attempts(0).build().unwrap_err());

    assert_eq!(cut.to_string(), "attempt timed out after 250ms");
    assert_eq!(invalid.to_string(), "invalid configuration: attempts: is 0, the minimum is 1");
    assert!(cut.error().is_none() && invalid.error().is_some());
}

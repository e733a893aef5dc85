use std::iter;
use std::sync::Mutex;
use std::time::Duration;

use eddyline::retry::{AttemptError, Retry, RetryOutcome};
use eddyline::{Class, Error, RetryPolicy, SequenceNumber};

use super::{Fault, ms, plain, script, told};

const NOW: Duration = Duration::ZERO;

#[tokio::test(start_paused = true)]
async fn what_succeeds_at_once_is_done_once() {
    let policy = plain(8).build().unwrap();

    let retried = Retry::new(&policy, script([])).await;

    assert_eq!(told(&retried), (RetryOutcome::FirstTry, 1, ms(0)));
    assert_eq!(retried.last_error(), None);
    assert_eq!(retried.into_result(), Ok("lent"));
}

#[tokio::test(start_paused = true)]
async fn what_fails_for_a_while_recovers_and_remembers_why() {
    let policy = plain(8).build().unwrap();
    let failures = [(NOW, Fault::Transient); 3];

    let retried = Retry::new(&policy, script(failures)).await;

    assert_eq!(told(&retried), (RetryOutcome::Recovered, 4, ms(10 + 20 + 40)));
    assert_eq!(retried.last_error(), Some(&AttemptError::Error(Fault::Transient)));
    assert_eq!(retried.into_result(), Ok("lent"));
}

#[tokio::test(start_paused = true)]
async fn attempts_are_counted_with_the_first() {
    let policy = plain(3).build().unwrap();

    let retried = Retry::new(&policy, script([(NOW, Fault::Transient); 3])).await;

    assert_eq!(told(&retried), (RetryOutcome::Exhausted, 3, ms(10 + 20)));
    assert_eq!(retried.into_result(), Err(AttemptError::Error(Fault::Transient)));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_transient_is_not_tried_again() {
    let policy = plain(8).build().unwrap();
    for fault in [Fault::Conflict, Fault::Invalid, Fault::Timeout, Fault::Unknown] {
        let retried = Retry::new(&policy, script([(NOW, fault)])).await;

        assert_eq!(told(&retried), (RetryOutcome::Permanent, 1, ms(0)));
        assert_eq!(retried.into_result(), Err(AttemptError::Error(fault)));
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_crate_tells_its_class_itself() {
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
async fn when_says_what_to_try_again() {
    let policy = plain(8).build().unwrap();
    let failures = [(NOW, Fault::Conflict), (NOW, Fault::Conflict), (NOW, Fault::Transient)];

    let retried =
        Retry::new(&policy, script(failures)).when(|error| *error == Fault::Conflict).await;

    assert_eq!(told(&retried), (RetryOutcome::Permanent, 3, ms(30)));
    assert_eq!(retried.into_result(), Err(AttemptError::Error(Fault::Transient)));
}

#[tokio::test(start_paused = true)]
async fn notify_is_told_before_each_pause() {
    let policy = plain(8).build().unwrap();
    let failures = [(ms(5), Fault::Transient), (NOW, Fault::Timeout), (NOW, Fault::Invalid)];
    let (mut told, started) = (Vec::new(), tokio::time::Instant::now());

    Retry::new(&policy, script(failures))
        .when(|error| *error != Fault::Invalid)
        .notify(|retrying| {
            let at = started.elapsed();
            let error = retrying.error().error().copied();
            told.push((at, retrying.attempt(), retrying.pause(), retrying.class(), error));
        })
        .await
        .into_result()
        .unwrap_err();

    assert_eq!(
        told,
        [
            (ms(5), 2, ms(10), Class::Transient, Some(Fault::Transient)),
            (ms(15), 3, ms(20), Class::Timeout, Some(Fault::Timeout)),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn adjust_may_lengthen_a_pause_and_end_the_call() {
    let policy = plain(8).build().unwrap();
    let failures = [(NOW, Fault::Transient), (NOW, Fault::Transient), (NOW, Fault::Timeout)];
    let started = tokio::time::Instant::now();

    let retried = Retry::new(&policy, script(failures))
        .when(|_| true)
        .adjust(|error, pause| (*error == Fault::Transient).then(|| pause.unwrap() * 3))
        .await;

    assert_eq!(told(&retried), (RetryOutcome::Exhausted, 3, ms(30 + 60)));
    assert_eq!(started.elapsed(), ms(90));
}

#[tokio::test(start_paused = true)]
async fn adjust_may_go_on_when_the_back_off_has_ended() {
    let policy = plain(2).build().unwrap();
    let given = Mutex::new(Vec::new());

    let retried = Retry::new(&policy, script([(NOW, Fault::Transient); 4]))
        .adjust(|_, pause| {
            given.lock().unwrap().push(pause);
            Some(pause.unwrap_or(ms(7)))
        })
        .await;

    assert_eq!(told(&retried), (RetryOutcome::Recovered, 5, ms(10 + 3 * 7)));
    assert_eq!(given.into_inner().unwrap(), [Some(ms(10)), None, None, None]);
}

#[tokio::test(start_paused = true)]
async fn a_back_off_is_any_iterator_of_durations() {
    let policy = plain(4).build().unwrap();
    let call = || Retry::new(&policy, script([(NOW, Fault::Transient); 9]));

    let array = call().backoff([3, 1].map(ms)).await;
    let endless = call().backoff(iter::repeat(ms(2))).await;
    let empty = call().backoff([]).await;
    let instant = call().backoff([Duration::ZERO; 2]).await;

    assert_eq!(told(&array), (RetryOutcome::Exhausted, 3, ms(4)));
    assert_eq!(told(&endless), (RetryOutcome::Exhausted, 4, ms(6)));
    assert_eq!(told(&empty), (RetryOutcome::Exhausted, 1, ms(0)));
    assert_eq!(told(&instant), (RetryOutcome::Exhausted, 3, ms(0)));
}

/// Every hook may keep what it hears, and the operation may change what it works on.
#[tokio::test(start_paused = true)]
async fn operation_and_hooks_may_change_what_they_borrow() {
    let (mut attempts, mut asked, mut heard) = (0, 0, 0);
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
        asked += 1;
        true
    })
    .notify(|_| heard += 1)
    .await;

    assert_eq!(retried.into_result(), Ok(4));
    assert_eq!((attempts, asked, heard), (4, 3, 3));
}

#[tokio::test(start_paused = true)]
async fn one_attempt_is_all_that_never_makes() {
    let retried = Retry::new(&RetryPolicy::never(), script([(NOW, Fault::Transient)])).await;

    assert_eq!(told(&retried), (RetryOutcome::Exhausted, 1, ms(0)));
}

#[test]
fn failures_say_what_they_are() {
    let cut: AttemptError<Error> = AttemptError::TimedOut(ms(250));
    let invalid: AttemptError<Error> =
        AttemptError::Error(RetryPolicy::builder().attempts(0).build().unwrap_err());

    assert_eq!(cut.to_string(), "attempt cut off after 250ms");
    assert_eq!(invalid.to_string(), "invalid configuration: attempts: is 0, the least is 1");
    assert!(cut.error().is_none() && invalid.error().is_some());
}

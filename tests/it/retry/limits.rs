//! Attempt timeouts and deadlines.

use std::future::{Ready, pending, ready};
use std::time::Duration;

use eddyline::retry::{AttemptError, Retry, RetryOutcome};
use eddyline::{Class, Classify};
use tokio::time::{Instant, advance, sleep};

use super::{Failure, ms, plain, script, summary};

fn fails() -> Ready<Result<(), Failure>> {
    ready(Err(Failure::Transient))
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_times_out_is_retried() {
    let policy = plain(3).attempt_timeout(ms(50)).build().unwrap();
    let started = Instant::now();
    let mut classes = Vec::new();

    let retried = Retry::new(&policy, pending::<Result<(), Failure>>)
        .notify(|retrying| classes.push((retrying.class(), retrying.error().clone())))
        .await;

    assert_eq!(summary(&retried), (RetryOutcome::Exhausted, 3, ms(30)));
    assert_eq!(started.elapsed(), ms(3 * 50 + 30));
    assert_eq!(classes, vec![(Class::Timeout, AttemptError::TimedOut(ms(50))); 2]);
    let failed = retried.into_result().unwrap_err();
    assert_eq!((failed.class(), &failed), (Class::Timeout, &AttemptError::TimedOut(ms(50))));
    assert_eq!(failed.into_error(|_| Failure::Timeout), Failure::Timeout);
}

/// An attempt that timed out has no error to pass to the hooks.
#[tokio::test(start_paused = true)]
async fn an_attempt_timeout_calls_neither_when_nor_adjust() {
    let policy = plain(2).attempt_timeout(ms(50)).build().unwrap();

    let retried = Retry::new(&policy, pending::<Result<(), Failure>>)
        .when(|error| panic!("{error:?}"))
        .adjust(|error, _| panic!("{error:?}"))
        .await;

    assert_eq!(summary(&retried), (RetryOutcome::Exhausted, 2, ms(10)));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_ends_at_its_timeout_succeeds() {
    let policy = plain(3).attempt_timeout(ms(50)).deadline(ms(60)).build().unwrap();

    let retried = Retry::new(&policy, async || {
        sleep(ms(50)).await;
        Ok::<_, Failure>("lent")
    });

    assert_eq!(retried.await.into_result(), Ok("lent"));
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_a_running_attempt() {
    let policy = plain(8).deadline(ms(100)).build().unwrap();
    let started = Instant::now();

    let retried =
        Retry::new(&policy, script([(ms(30), Failure::Transient), (ms(80), Failure::Transient)]))
            .await;

    assert_eq!(summary(&retried), (RetryOutcome::Deadline, 2, ms(10)));
    assert_eq!(started.elapsed(), ms(100));
    assert_eq!(retried.into_result(), Err(AttemptError::TimedOut(ms(60))));
}

#[tokio::test(start_paused = true)]
async fn the_earlier_of_both_limits_ends_the_attempt() {
    let policy = plain(8).attempt_timeout(ms(60)).deadline(ms(100)).build().unwrap();
    let started = Instant::now();

    let retried = Retry::new(&policy, pending::<Result<(), Failure>>).await;

    assert_eq!(summary(&retried), (RetryOutcome::Deadline, 2, ms(10)));
    assert_eq!(started.elapsed(), ms(100));
    assert_eq!(retried.last_error(), Some(&AttemptError::TimedOut(ms(30))));
}

/// The pauses are 10, 20 and 40 ms, so the third would end 70 ms after the start.
#[tokio::test(start_paused = true)]
async fn a_pause_that_would_reach_the_deadline_is_not_started() {
    for (deadline, attempts, delay) in
        [(71, 4, 70), (70, 3, 30), (31, 3, 30), (30, 2, 10), (1, 1, 0)]
    {
        let policy = plain(8).deadline(ms(deadline)).build().unwrap();
        let started = Instant::now();

        let retried = Retry::new(&policy, fails).await;

        assert_eq!(summary(&retried), (RetryOutcome::Deadline, attempts, ms(delay)));
        assert_eq!(started.elapsed(), ms(delay));
    }
}

#[tokio::test(start_paused = true)]
async fn a_ready_operation_succeeds_under_the_shortest_deadline() {
    let policy = plain(8).deadline(Duration::from_nanos(1)).build().unwrap();

    let done = Retry::new(&policy, script([])).await;
    let failed = Retry::new(&policy, fails).await;

    assert_eq!(summary(&done), (RetryOutcome::FirstTry, 1, ms(0)));
    assert_eq!(summary(&failed), (RetryOutcome::Deadline, 1, ms(0)));
    assert_eq!(failed.into_result(), Err(AttemptError::Error(Failure::Transient)));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_without_timeouts_runs_to_its_end() {
    let policy = plain(8).attempt_timeout(ms(20)).deadline(ms(100)).build().unwrap();
    let steps = [(ms(50), Failure::Transient), (ms(500), Failure::Transient)];
    let started = Instant::now();

    let retried = Retry::new(&policy, script(steps)).without_timeouts().await;

    assert_eq!(summary(&retried), (RetryOutcome::Deadline, 2, ms(10)));
    assert_eq!(started.elapsed(), ms(560));
    assert_eq!(retried.into_result(), Err(AttemptError::Error(Failure::Transient)));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_without_timeouts_can_succeed_after_the_deadline() {
    let policy = plain(8).attempt_timeout(ms(20)).deadline(ms(100)).build().unwrap();

    let retried = Retry::new(&policy, async || {
        sleep(ms(500)).await;
        Ok::<_, Failure>("lent")
    })
    .without_timeouts()
    .await;

    assert_eq!(summary(&retried), (RetryOutcome::FirstTry, 1, ms(0)));
}

/// A busy runtime wakes tasks late.
#[tokio::test(start_paused = true)]
async fn no_attempt_starts_at_or_after_the_deadline_if_the_pause_ended_late() {
    for (woken, attempts) in [(99, 2), (100, 1), (120, 1)] {
        let policy = plain(8).deadline(ms(100)).build().unwrap();

        let call = tokio::spawn(async move { Retry::new(&policy, fails).backoff([ms(50)]).await });
        tokio::task::yield_now().await;
        advance(ms(woken)).await;

        let (_, made, delay) = summary(&call.await.unwrap());
        assert_eq!((made, delay), (attempts, ms(50)), "woken after {woken} ms");
    }
}

/// The call may be part of an operation that started earlier.
#[tokio::test(start_paused = true)]
async fn a_deadline_can_count_from_an_earlier_time() {
    let policy = plain(8).deadline(ms(100)).build().unwrap();
    let earlier = Instant::now();
    advance(ms(70)).await;

    let cut = Retry::new(&policy, pending::<Result<(), Failure>>).started_at(earlier).await;
    let late = Retry::new(&policy, pending::<Result<(), Failure>>).started_at(earlier).await;
    let ready = Retry::new(&policy, script([])).started_at(earlier).await;

    assert_eq!(summary(&cut), (RetryOutcome::Deadline, 1, ms(0)));
    assert_eq!(cut.into_result(), Err(AttemptError::TimedOut(ms(30))));
    assert_eq!(late.into_result(), Err(AttemptError::TimedOut(ms(0))));
    assert_eq!(ready.into_result(), Ok("lent"));
    assert_eq!(earlier.elapsed(), ms(100));
}

#[tokio::test(start_paused = true)]
async fn the_longest_limits_and_pauses_do_not_overflow() {
    let policy = plain(8).attempt_timeout(Duration::MAX).deadline(Duration::MAX).build().unwrap();
    let steps = [(ms(5), Failure::Transient)];

    let calm = Retry::new(&policy, script(steps)).await;
    let endless =
        tokio::time::timeout(ms(1_000), Retry::new(&policy, fails).backoff([Duration::MAX])).await;
    let limited = plain(8).deadline(ms(100)).build().unwrap();
    let stopped = Retry::new(&limited, fails).backoff([Duration::MAX]).await;

    assert_eq!(summary(&calm), (RetryOutcome::Recovered, 2, ms(10)));
    assert!(endless.is_err());
    assert_eq!(summary(&stopped), (RetryOutcome::Deadline, 1, ms(0)));
}

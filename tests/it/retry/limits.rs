use std::future::{Ready, pending, ready};
use std::time::Duration;

use eddyline::retry::{AttemptError, Retry, RetryOutcome};
use eddyline::{Class, Classify};
use tokio::time::{Instant, advance, sleep};

use super::{Fault, ms, plain, script, told};

fn fails() -> Ready<Result<(), Fault>> {
    ready(Err(Fault::Transient))
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_too_long_is_cut_off_and_tried_again() {
    let policy = plain(3).attempt_timeout(ms(50)).build().unwrap();
    let started = Instant::now();
    let mut classes = Vec::new();

    let retried = Retry::new(&policy, pending::<Result<(), Fault>>)
        .notify(|retrying| classes.push((retrying.class(), retrying.error().clone())))
        .await;

    assert_eq!(told(&retried), (RetryOutcome::Exhausted, 3, ms(30)));
    assert_eq!(started.elapsed(), ms(3 * 50 + 30));
    assert_eq!(classes, vec![(Class::Timeout, AttemptError::TimedOut(ms(50))); 2]);
    let failed = retried.into_result().unwrap_err();
    assert_eq!((failed.class(), &failed), (Class::Timeout, &AttemptError::TimedOut(ms(50))));
    assert_eq!(failed.into_error(|_| Fault::Timeout), Fault::Timeout);
}

/// Its error is not there to be asked about.
#[tokio::test(start_paused = true)]
async fn neither_when_nor_adjust_is_asked_about_an_attempt_that_was_cut_off() {
    let policy = plain(2).attempt_timeout(ms(50)).build().unwrap();

    let retried = Retry::new(&policy, pending::<Result<(), Fault>>)
        .when(|error| panic!("{error:?}"))
        .adjust(|error, _| panic!("{error:?}"))
        .await;

    assert_eq!(told(&retried), (RetryOutcome::Exhausted, 2, ms(10)));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_done_when_its_time_is_up_counts() {
    let policy = plain(3).attempt_timeout(ms(50)).deadline(ms(60)).build().unwrap();

    let retried = Retry::new(&policy, async || {
        sleep(ms(50)).await;
        Ok::<_, Fault>("lent")
    });

    assert_eq!(retried.await.into_result(), Ok("lent"));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_under_way_at_the_deadline_is_cut_off() {
    let policy = plain(8).deadline(ms(100)).build().unwrap();
    let started = Instant::now();

    let retried =
        Retry::new(&policy, script([(ms(30), Fault::Transient), (ms(80), Fault::Transient)])).await;

    assert_eq!(told(&retried), (RetryOutcome::Deadline, 2, ms(10)));
    assert_eq!(started.elapsed(), ms(100));
    assert_eq!(retried.into_result(), Err(AttemptError::TimedOut(ms(60))));
}

#[tokio::test(start_paused = true)]
async fn the_earlier_of_both_limits_cuts() {
    let policy = plain(8).attempt_timeout(ms(60)).deadline(ms(100)).build().unwrap();
    let started = Instant::now();

    let retried = Retry::new(&policy, pending::<Result<(), Fault>>).await;

    assert_eq!(told(&retried), (RetryOutcome::Deadline, 2, ms(10)));
    assert_eq!(started.elapsed(), ms(100));
    assert_eq!(retried.last_error(), Some(&AttemptError::TimedOut(ms(30))));
}

/// Pauses of 10, 20 and 40 ms: the third would end 70 ms after the beginning.
#[tokio::test(start_paused = true)]
async fn a_pause_that_would_reach_the_deadline_is_not_begun() {
    for (deadline, attempts, delay) in
        [(71, 4, 70), (70, 3, 30), (31, 3, 30), (30, 2, 10), (1, 1, 0)]
    {
        let policy = plain(8).deadline(ms(deadline)).build().unwrap();
        let started = Instant::now();

        let retried = Retry::new(&policy, fails).await;

        assert_eq!(told(&retried), (RetryOutcome::Deadline, attempts, ms(delay)));
        assert_eq!(started.elapsed(), ms(delay));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_ready_at_once_beats_the_shortest_deadline() {
    let policy = plain(8).deadline(Duration::from_nanos(1)).build().unwrap();

    let done = Retry::new(&policy, script([])).await;
    let failed = Retry::new(&policy, fails).await;

    assert_eq!(told(&done), (RetryOutcome::FirstTry, 1, ms(0)));
    assert_eq!(told(&failed), (RetryOutcome::Deadline, 1, ms(0)));
    assert_eq!(failed.into_result(), Err(AttemptError::Error(Fault::Transient)));
}

#[tokio::test(start_paused = true)]
async fn an_uncut_attempt_runs_to_its_end() {
    let policy = plain(8).attempt_timeout(ms(20)).deadline(ms(100)).build().unwrap();
    let steps = [(ms(50), Fault::Transient), (ms(500), Fault::Transient)];
    let started = Instant::now();

    let retried = Retry::new(&policy, script(steps)).without_timeouts().await;

    assert_eq!(told(&retried), (RetryOutcome::Deadline, 2, ms(10)));
    assert_eq!(started.elapsed(), ms(560));
    assert_eq!(retried.into_result(), Err(AttemptError::Error(Fault::Transient)));
}

#[tokio::test(start_paused = true)]
async fn an_uncut_attempt_may_succeed_after_the_deadline() {
    let policy = plain(8).attempt_timeout(ms(20)).deadline(ms(100)).build().unwrap();

    let retried = Retry::new(&policy, async || {
        sleep(ms(500)).await;
        Ok::<_, Fault>("lent")
    })
    .without_timeouts()
    .await;

    assert_eq!(told(&retried), (RetryOutcome::FirstTry, 1, ms(0)));
}

/// The runtime wakes a task late when it has much to do.
#[tokio::test(start_paused = true)]
async fn no_attempt_begins_at_the_deadline_or_after_it_though_the_pause_ended_late() {
    for (woken, attempts) in [(99, 2), (100, 1), (120, 1)] {
        let policy = plain(8).deadline(ms(100)).build().unwrap();

        let call = tokio::spawn(async move { Retry::new(&policy, fails).backoff([ms(50)]).await });
        tokio::task::yield_now().await;
        advance(ms(woken)).await;

        let (_, made, delay) = told(&call.await.unwrap());
        assert_eq!((made, delay), (attempts, ms(50)), "woken after {woken} ms");
    }
}

/// A call may be part of another that began earlier.
#[tokio::test(start_paused = true)]
async fn a_deadline_may_count_from_an_earlier_moment() {
    let policy = plain(8).deadline(ms(100)).build().unwrap();
    let earlier = Instant::now();
    advance(ms(70)).await;

    let cut = Retry::new(&policy, pending::<Result<(), Fault>>).started_at(earlier).await;
    let late = Retry::new(&policy, pending::<Result<(), Fault>>).started_at(earlier).await;
    let ready = Retry::new(&policy, script([])).started_at(earlier).await;

    assert_eq!(told(&cut), (RetryOutcome::Deadline, 1, ms(0)));
    assert_eq!(cut.into_result(), Err(AttemptError::TimedOut(ms(30))));
    assert_eq!(late.into_result(), Err(AttemptError::TimedOut(ms(0))));
    assert_eq!(ready.into_result(), Ok("lent"));
    assert_eq!(earlier.elapsed(), ms(100));
}

#[tokio::test(start_paused = true)]
async fn the_longest_limits_and_pauses_do_not_overflow() {
    let policy = plain(8).attempt_timeout(Duration::MAX).deadline(Duration::MAX).build().unwrap();
    let steps = [(ms(5), Fault::Transient)];

    let calm = Retry::new(&policy, script(steps)).await;
    let endless =
        tokio::time::timeout(ms(1_000), Retry::new(&policy, fails).backoff([Duration::MAX])).await;
    let limited = plain(8).deadline(ms(100)).build().unwrap();
    let stopped = Retry::new(&limited, fails).backoff([Duration::MAX]).await;

    assert_eq!(told(&calm), (RetryOutcome::Recovered, 2, ms(10)));
    assert!(endless.is_err());
    assert_eq!(told(&stopped), (RetryOutcome::Deadline, 1, ms(0)));
}

//! Property tests of `Retry` against a model, over random policies and operations.

use std::time::Duration;

use eddyline::RetryPolicy;
use eddyline::retry::{AttemptError, Jitter, Retried, Retry, RetryBudget, RetryOutcome};
use proptest::prelude::*;
use tokio::time::{Instant, sleep};

use super::{Failure, ms, paused, plain};

/// The duration of an attempt in milliseconds, and its result.
type Step = (u64, Result<(), Failure>);

/// The limits of a policy, in milliseconds.
#[derive(Clone, Debug)]
struct Limits {
    attempts: u32,
    attempt_timeout: Option<u64>,
    deadline: Option<u64>,
    tokens: Option<u32>,
    without_timeouts: bool,
}

/// The result of a call.
#[derive(Debug, PartialEq)]
struct CallResult {
    outcome: RetryOutcome,
    attempts: u32,
    delay: Duration,
    elapsed: Duration,
    last_error: Option<AttemptError<Failure>>,
}

fn step() -> impl Strategy<Value = Step> {
    let time = prop_oneof![Just(0), 1..400_u64];
    let end = prop_oneof![
        1 => Just(Ok(())),
        1 => Just(Err(Failure::Invalid)),
        1 => Just(Err(Failure::Conflict)),
        1 => Just(Err(Failure::Timeout)),
        8 => Just(Err(Failure::Transient)),
    ];
    (time, end)
}

fn limits() -> impl Strategy<Value = Limits> {
    let limit = || proptest::option::of(1..600_u64);
    (1..10_u32, limit(), limit(), proptest::option::of(1..5_u32), any::<bool>()).prop_map(
        |(attempts, attempt_timeout, deadline, tokens, without_timeouts)| {
            let attempt_timeout = match (attempt_timeout, deadline) {
                (Some(timeout), Some(deadline)) => Some(timeout.min(deadline)),
                (timeout, _) => timeout,
            };
            Limits { attempts, attempt_timeout, deadline, tokens, without_timeouts }
        },
    )
}

fn policy(limits: &Limits) -> RetryPolicy {
    let mut policy = plain(limits.attempts);
    if let Some(timeout) = limits.attempt_timeout {
        policy = policy.attempt_timeout(ms(timeout));
    }
    if let Some(deadline) = limits.deadline {
        policy = policy.deadline(ms(deadline));
    }
    if let Some(tokens) = limits.tokens {
        policy = policy.budget(RetryBudget::new(tokens, 0.0).unwrap());
    }
    policy.build().unwrap()
}

fn model(limits: &Limits, steps: &[Step], pauses: &[u64]) -> CallResult {
    let (mut now, mut delay, mut tokens) = (0, 0, limits.tokens);
    let mut last_error = None;
    for (before, &(time, end)) in steps.iter().cycle().enumerate() {
        let attempts = before as u32 + 1;
        let result = |outcome, now, delay, last_error| CallResult {
            outcome,
            attempts,
            delay: ms(delay),
            elapsed: ms(now),
            last_error,
        };
        let left = limits.deadline.map(|deadline| deadline.saturating_sub(now));
        let limit = [limits.attempt_timeout, left].into_iter().flatten().min();
        let limit = limit.filter(|limit| !limits.without_timeouts && time > *limit);
        now += limit.unwrap_or(time);
        let failed = match (limit, end) {
            (None, Ok(())) if attempts == 1 => {
                return result(RetryOutcome::FirstTry, now, delay, None);
            }
            (None, Ok(())) => return result(RetryOutcome::Recovered, now, delay, last_error),
            (None, Err(fault)) => AttemptError::Error(fault),
            (Some(limit), _) => AttemptError::TimedOut(ms(limit)),
        };
        let result = |outcome, failed| result(outcome, now, delay, Some(failed));
        if limit.is_some() && limit == left {
            return result(RetryOutcome::Deadline, failed);
        }
        if matches!(failed, AttemptError::Error(fault) if fault != Failure::Transient) {
            return result(RetryOutcome::Permanent, failed);
        }
        let pause = pauses.get(before).filter(|_| attempts < limits.attempts);
        let Some(pause) = pause else { return result(RetryOutcome::Exhausted, failed) };
        if limits.deadline.is_some_and(|deadline| now + pause >= deadline) {
            return result(RetryOutcome::Deadline, failed);
        }
        if tokens == Some(0) {
            return result(RetryOutcome::Budget, failed);
        }
        tokens = tokens.map(|tokens| tokens - 1);
        (now, delay, last_error) = (now + pause, delay + pause, Some(failed));
    }
    unreachable!("the attempts end")
}

async fn play(step: Step) -> Result<(), Failure> {
    let (time, end) = step;
    if time > 0 {
        sleep(ms(time)).await;
    }
    end
}

fn result(retried: &Retried<(), Failure>, elapsed: Duration) -> CallResult {
    CallResult {
        outcome: retried.outcome(),
        attempts: retried.attempts(),
        delay: retried.delay(),
        elapsed,
        last_error: retried.last_error().cloned(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// A call behaves as the model does, to the millisecond.
    #[test]
    fn calls_follow_the_model(
        limits in limits(),
        steps in proptest::collection::vec(step(), 1..12),
        pauses in proptest::collection::vec(0..200_u64, 0..12),
    ) {
        let policy = policy(&limits);
        let mut script = steps.iter().cycle();

        let result = paused().block_on(async {
            let started = Instant::now();
            let call = Retry::new(&policy, || play(*script.next().unwrap()))
                .backoff(pauses.iter().copied().map(ms));
            let retried = if limits.without_timeouts { call.without_timeouts().await } else { call.await };
            result(&retried, started.elapsed())
        });

        prop_assert_eq!(result, model(&limits, &steps, &pauses));
    }

    /// The delay is the sum of the pauses, to the nanosecond. Attempts, pauses and the deadline
    /// keep their limits.
    #[test]
    fn calls_keep_the_limits_of_their_policy(
        limits in limits(),
        steps in proptest::collection::vec(step(), 1..12),
        jitter in prop_oneof![Just(Jitter::None), Just(Jitter::Equal), Just(Jitter::Full)],
        base in 0..50_000_000_u64,
        multiplier in 1.0..4.0,
        seed: u64,
    ) {
        let schedule = RetryPolicy::builder().attempts(limits.attempts).jitter(jitter);
        let schedule = schedule.base_delay(Duration::from_nanos(base)).multiplier(multiplier);
        let backoff = schedule.build().unwrap().backoff().seed(seed);
        let policy = policy(&limits);
        let (mut script, mut pauses) = (steps.iter().cycle(), Vec::new());

        let result = paused().block_on(async {
            let started = Instant::now();
            let retried = Retry::new(&policy, || play(*script.next().unwrap()))
                .backoff(backoff.clone())
                .notify(|retrying| pauses.push(retrying.pause()))
                .await;
            result(&retried, started.elapsed())
        });

        prop_assert!(result.attempts <= limits.attempts);
        // No attempt follows a pause that ended too late.
        let retries = pauses.len() as u32;
        prop_assert!(retries == result.attempts - 1 || retries == result.attempts);
        prop_assert!(retries < result.attempts || result.outcome == RetryOutcome::Deadline);
        prop_assert_eq!(result.delay, pauses.iter().sum::<Duration>());
        prop_assert!(backoff.zip(&pauses).all(|(planned, pause)| planned == *pause));
        // The runtime's timer rounds up to milliseconds.
        let latest = limits.deadline.map_or(Duration::MAX, |deadline| ms(deadline + 1));
        prop_assert!(result.elapsed <= latest, "{:?} of {:?}", result, limits);
    }
}

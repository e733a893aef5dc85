//! The future against a model of a few lines, over random policies and scripts.

use std::time::Duration;

use eddyline::RetryPolicy;
use eddyline::retry::{AttemptError, Jitter, Retried, Retry, RetryBudget, RetryOutcome};
use proptest::prelude::*;
use tokio::time::{Instant, sleep};

use super::{Fault, ms, paused, plain};

/// What an attempt takes, and what comes of it.
type Step = (u64, Result<(), Fault>);

/// All in milliseconds.
#[derive(Clone, Debug)]
struct Limits {
    attempts: u32,
    attempt_timeout: Option<u64>,
    deadline: Option<u64>,
    tokens: Option<u32>,
    without_timeouts: bool,
}

/// What is to come of a call.
#[derive(Debug, PartialEq)]
struct Fate {
    outcome: RetryOutcome,
    attempts: u32,
    delay: Duration,
    elapsed: Duration,
    last_error: Option<AttemptError<Fault>>,
}

fn step() -> impl Strategy<Value = Step> {
    let time = prop_oneof![Just(0), 1..400_u64];
    let end = prop_oneof![
        1 => Just(Ok(())),
        1 => Just(Err(Fault::Invalid)),
        1 => Just(Err(Fault::Conflict)),
        1 => Just(Err(Fault::Timeout)),
        8 => Just(Err(Fault::Transient)),
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

fn model(limits: &Limits, steps: &[Step], pauses: &[u64]) -> Fate {
    let (mut now, mut delay, mut tokens) = (0, 0, limits.tokens);
    let mut last_error = None;
    for (before, &(time, end)) in steps.iter().cycle().enumerate() {
        let attempts = before as u32 + 1;
        let fate = |outcome, now, delay, last_error| Fate {
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
                return fate(RetryOutcome::FirstTry, now, delay, None);
            }
            (None, Ok(())) => return fate(RetryOutcome::Recovered, now, delay, last_error),
            (None, Err(fault)) => AttemptError::Error(fault),
            (Some(limit), _) => AttemptError::TimedOut(ms(limit)),
        };
        let fate = |outcome, failed| fate(outcome, now, delay, Some(failed));
        if limit.is_some() && limit == left {
            return fate(RetryOutcome::Deadline, failed);
        }
        if matches!(failed, AttemptError::Error(fault) if fault != Fault::Transient) {
            return fate(RetryOutcome::Permanent, failed);
        }
        let pause = pauses.get(before).filter(|_| attempts < limits.attempts);
        let Some(pause) = pause else { return fate(RetryOutcome::Exhausted, failed) };
        if limits.deadline.is_some_and(|deadline| now + pause >= deadline) {
            return fate(RetryOutcome::Deadline, failed);
        }
        if tokens == Some(0) {
            return fate(RetryOutcome::Budget, failed);
        }
        tokens = tokens.map(|tokens| tokens - 1);
        (now, delay, last_error) = (now + pause, delay + pause, Some(failed));
    }
    unreachable!("the attempts end")
}

async fn play(step: Step) -> Result<(), Fault> {
    let (time, end) = step;
    if time > 0 {
        sleep(ms(time)).await;
    }
    end
}

fn fate(retried: &Retried<(), Fault>, elapsed: Duration) -> Fate {
    Fate {
        outcome: retried.outcome(),
        attempts: retried.attempts(),
        delay: retried.delay(),
        elapsed,
        last_error: retried.last_error().cloned(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// A call does what the model says, to the millisecond.
    #[test]
    fn calls_follow_the_model(
        limits in limits(),
        steps in proptest::collection::vec(step(), 1..12),
        pauses in proptest::collection::vec(0..200_u64, 0..12),
    ) {
        let policy = policy(&limits);
        let mut script = steps.iter().cycle();

        let fate = paused().block_on(async {
            let started = Instant::now();
            let call = Retry::new(&policy, || play(*script.next().unwrap()))
                .backoff(pauses.iter().copied().map(ms));
            let retried = if limits.without_timeouts { call.without_timeouts().await } else { call.await };
            fate(&retried, started.elapsed())
        });

        prop_assert_eq!(fate, model(&limits, &steps, &pauses));
    }

    /// With the pauses of a policy the delay is their sum, to the nanosecond; neither attempts nor
    /// pauses exceed theirs, nor does the call its deadline.
    #[test]
    fn calls_keep_their_limits(
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

        let fate = paused().block_on(async {
            let started = Instant::now();
            let retried = Retry::new(&policy, || play(*script.next().unwrap()))
                .backoff(backoff.clone())
                .notify(|retrying| pauses.push(retrying.pause()))
                .await;
            fate(&retried, started.elapsed())
        });

        prop_assert!(fate.attempts <= limits.attempts);
        // After a pause that ended late nothing is attempted.
        let retries = pauses.len() as u32;
        prop_assert!(retries == fate.attempts - 1 || retries == fate.attempts);
        prop_assert!(retries < fate.attempts || fate.outcome == RetryOutcome::Deadline);
        prop_assert_eq!(fate.delay, pauses.iter().sum::<Duration>());
        prop_assert!(backoff.zip(&pauses).all(|(planned, pause)| planned == *pause));
        // The runtime's timer rounds up to milliseconds.
        let latest = limits.deadline.map_or(Duration::MAX, |deadline| ms(deadline + 1));
        prop_assert!(fate.elapsed <= latest, "{:?} of {:?}", fate, limits);
    }
}

//! Retry budgets.

use std::future::ready;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use eddyline::retry::{AttemptError, Retry, RetryBudget, RetryOutcome};
use eddyline::{Class, RetryPolicy};
use proptest::prelude::*;

use super::{Failure, ms, paused, plain, script, summary};

const NOW: Duration = Duration::ZERO;

fn policy(attempts: u32, budget: &RetryBudget) -> RetryPolicy {
    plain(attempts).budget(budget.clone()).build().unwrap()
}

async fn succeed(policy: &RetryPolicy) {
    let retried = Retry::new(policy, script([])).await;
    assert_eq!(retried.outcome(), RetryOutcome::FirstTry);
}

#[tokio::test(start_paused = true)]
async fn a_retry_takes_a_token_and_needs_one() {
    let budget = RetryBudget::new(3, 0.0).unwrap();
    let policy = policy(8, &budget);

    let recovered = Retry::new(&policy, script([(NOW, Failure::Transient); 2])).await;
    let stopped = Retry::new(&policy, script([(NOW, Failure::Transient); 2])).await;

    assert_eq!(summary(&recovered), (RetryOutcome::Recovered, 3, ms(30)));
    assert_eq!(summary(&stopped), (RetryOutcome::Budget, 2, ms(10)));
    assert_eq!(stopped.into_result(), Err(AttemptError::Error(Failure::Transient)));
    assert_eq!(budget.tokens(), 0);
}

#[tokio::test(start_paused = true)]
async fn calls_deposit_their_ratio_up_to_the_capacity() {
    let budget = RetryBudget::new(2, 0.1).unwrap();
    let policy = policy(3, &budget);
    let _ = Retry::new(&policy, script([(NOW, Failure::Transient); 2])).await;
    let mut seen = vec![budget.tokens()];

    // The bucket was full at the first call, so its deposit was lost.
    for _ in 0..30 {
        succeed(&policy).await;
        seen.push(budget.tokens());
    }

    let expected: Vec<u32> = (0..=30).map(|calls| (calls / 10).min(2)).collect();
    assert_eq!(seen, expected);
}

#[tokio::test(start_paused = true)]
async fn clones_of_a_policy_share_its_budget() {
    let budget = RetryBudget::new(1, 0.0).unwrap();
    let (one, other) = (policy(8, &budget), policy(8, &budget).clone());

    let first = Retry::new(&one, script([(NOW, Failure::Transient)])).await;
    let second = Retry::new(&other, script([(NOW, Failure::Transient)])).await;

    assert_eq!(first.outcome(), RetryOutcome::Recovered);
    assert_eq!(second.outcome(), RetryOutcome::Budget);
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_an_attempt_timeout_takes_a_token() {
    let budget = RetryBudget::new(1, 0.0).unwrap();
    let policy = plain(8).budget(budget.clone()).attempt_timeout(ms(20)).build().unwrap();

    let retried = Retry::new(&policy, std::future::pending::<Result<(), Failure>>).await;

    assert_eq!(summary(&retried), (RetryOutcome::Budget, 2, ms(10)));
}

/// A conflict does not indicate an overloaded server.
#[tokio::test(start_paused = true)]
async fn retries_of_conflicts_and_unknown_outcomes_take_no_token() {
    let budget = RetryBudget::new(1, 0.0).unwrap();
    let policy = policy(8, &budget);
    let failures = [(NOW, Failure::Conflict), (NOW, Failure::Unknown), (NOW, Failure::Conflict)];

    let retried = Retry::new(&policy, script(failures)).when(|_| true).await;

    assert_eq!(summary(&retried), (RetryOutcome::Recovered, 4, ms(70)));
    assert_eq!(budget.tokens(), 1);
}

/// A call that ends for another reason leaves the tokens to other calls.
#[tokio::test(start_paused = true)]
async fn a_retry_that_is_not_made_takes_no_token() {
    let budget = RetryBudget::new(1, 0.0).unwrap();
    let hasty = plain(8).budget(budget.clone()).deadline(ms(5)).build().unwrap();

    for policy in [policy(1, &budget), hasty] {
        let _ = Retry::new(&policy, script([(NOW, Failure::Transient)])).await;
        let _ = Retry::new(&policy, script([(NOW, Failure::Invalid)])).await;
    }

    assert_eq!(budget.tokens(), 1);
}

#[test]
fn the_debug_output_of_a_budget_shows_its_tokens() {
    let budget = RetryBudget::new(40, 0.25).unwrap();

    let shown = format!("{budget:?}");

    assert_eq!(shown, "RetryBudget { tokens: 40, capacity: 40, ratio: 0.25 }");
}

/// Calls a server that always fails, and returns the number of attempts.
async fn storm(calls: u64, policy: &RetryPolicy) -> u64 {
    let mut attempts = 0;
    for _ in 0..calls {
        let retried =
            Retry::classify_with(policy, || ready(Err::<(), _>(())), |()| Class::Transient);
        attempts += u64::from(retried.await.attempts());
    }
    attempts
}

/// Models the number of retries, in hundredths of a token.
fn model(calls: u64, attempts: u32, tokens: u32, ratio: u32) -> u64 {
    let capacity = u64::from(tokens) * 100;
    let (mut balance, mut retries) = (capacity, 0);
    for _ in 0..calls {
        balance = (balance + u64::from(ratio)).min(capacity);
        let made = u64::from(attempts - 1).min(balance / 100);
        retries += made;
        balance -= made * 100;
    }
    retries
}

proptest! {
    /// A server that always fails gets exactly the retries that the initial tokens and the deposits
    /// of the calls pay for.
    #[test]
    fn a_budget_ends_a_retry_storm(
        tokens in 1..50_u32,
        ratio in 0_u32..200,
        calls in 1..200_u64,
        attempts in 2..12_u32,
    ) {
        let budget = RetryBudget::new(tokens, f64::from(ratio) / 100.0).unwrap();
        let policy = policy(attempts, &budget);

        let retries = paused().block_on(storm(calls, &policy)) - calls;

        prop_assert!(retries <= u64::from(tokens) + u64::from(ratio) * calls / 100);
        prop_assert_eq!(retries, model(calls, attempts, tokens, ratio));
    }
}

/// Threads that withdraw and deposit concurrently neither create nor lose tokens.
#[test]
fn a_budget_shared_by_threads_is_exact() {
    let budget = RetryBudget::new(1_000, 0.5).unwrap();
    let policy = policy(20, &budget);
    let (threads, calls) = (4, 500);
    let attempts = AtomicU64::new(0);

    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                attempts.fetch_add(paused().block_on(storm(calls, &policy)), Ordering::Relaxed);
            });
        }
    });

    let calls = threads * calls;
    let retries = attempts.load(Ordering::Relaxed) - calls;
    // Each call deposits half a token. The deposits of the first calls were lost to a full bucket.
    assert!((1_000 + calls / 2 - threads..=1_000 + calls / 2).contains(&retries), "{retries}");
}

//! Retries: attempts, delays, limits, budgets and telemetry. Clocks are paused: no test waits.

mod budget;
mod canceled;
mod cost;
mod hooks;
mod limits;
mod model;
mod schedule;
mod settings;
mod telemetry;

use std::pin::Pin;
use std::time::Duration;

use eddyline::error::Reason;
use eddyline::retry::{Retried, RetryOutcome, RetryPolicyBuilder};
use eddyline::{Class, Classify, RetryPolicy};
use tokio::runtime::{Builder, Runtime};

/// An error of an operation that is retried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Failure {
    Conflict,
    Invalid,
    Timeout,
    Transient,
    Unknown,
}

impl Classify for Failure {
    fn class(&self) -> Class {
        match self {
            Self::Conflict => Class::Conflict,
            Self::Invalid => Class::Permanent(Reason::Invalid),
            Self::Timeout => Class::Timeout,
            Self::Transient => Class::Transient,
            Self::Unknown => Class::OutcomeUnknown,
        }
    }
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Returns a policy with delays of 10, 20, 40 … ms and no limit except the attempts.
fn plain(attempts: u32) -> RetryPolicyBuilder {
    RetryPolicy::builder()
        .attempts(attempts)
        .jitter(eddyline::retry::Jitter::None)
        .no_attempt_timeout()
        .no_deadline()
        .no_budget()
        .no_escalation()
}

type Attempt = Pin<Box<dyn Future<Output = Result<&'static str, Failure>> + Send>>;

/// Returns an operation that takes the time of each step and fails, one step per attempt, and then
/// succeeds.
fn script<const N: usize>(steps: [(Duration, Failure); N]) -> impl FnMut() -> Attempt {
    let mut steps = steps.into_iter();
    move || {
        let step = steps.next();
        Box::pin(async move {
            let Some((time, failure)) = step else { return Ok("lent") };
            if !time.is_zero() {
                tokio::time::sleep(time).await;
            }
            Err(failure)
        })
    }
}

/// Returns a runtime with a paused clock, which advances when all tasks are idle.
fn paused() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// Returns the outcome, the attempts and the delay of a call.
fn summary<T, E>(retried: &Retried<T, E>) -> (RetryOutcome, u32, Duration) {
    (retried.outcome(), retried.attempts(), retried.delay())
}

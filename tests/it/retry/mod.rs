//! How often, how long after, and when not to. Clocks are paused: no test waits for time.

mod budget;
mod canceled;
mod cost;
mod counted;
mod hooks;
mod laws;
mod limits;
mod schedule;
mod settings;

use std::pin::Pin;
use std::time::Duration;

use eddyline::error::Reason;
use eddyline::retry::{Retried, RetryOutcome, RetryPolicyBuilder};
use eddyline::{Class, Classify, RetryPolicy};
use tokio::runtime::{Builder, Runtime};

/// What a library's operation may fail with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fault {
    Conflict,
    Invalid,
    Timeout,
    Transient,
    Unknown,
}

impl Classify for Fault {
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

/// Pauses of 10, 20, 40 … ms, and no other limit than the attempts.
fn plain(attempts: u32) -> RetryPolicyBuilder {
    RetryPolicy::builder()
        .attempts(attempts)
        .jitter(eddyline::retry::Jitter::None)
        .no_attempt_timeout()
        .no_deadline()
        .no_budget()
        .no_escalation()
}

type Attempt = Pin<Box<dyn Future<Output = Result<&'static str, Fault>> + Send>>;

/// Returns an operation that takes some time and fails, as often as there are steps, and then
/// succeeds.
fn script<const N: usize>(steps: [(Duration, Fault); N]) -> impl FnMut() -> Attempt {
    let mut steps = steps.into_iter();
    move || {
        let step = steps.next();
        Box::pin(async move {
            let Some((time, fault)) = step else { return Ok("lent") };
            if !time.is_zero() {
                tokio::time::sleep(time).await;
            }
            Err(fault)
        })
    }
}

/// Returns a runtime whose clock moves when there is nothing else to do.
fn paused() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// Returns what a call says of itself.
fn told<T, E>(retried: &Retried<T, E>) -> (RetryOutcome, u32, Duration) {
    (retried.outcome(), retried.attempts(), retried.delay())
}

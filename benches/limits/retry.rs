//! The overhead of `Retry` for an operation that is ready immediately, compared with awaiting it.

use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use console::print_stdout;
use eddyline::retry::Retry;
use eddyline::{Class, RetryPolicy};

use crate::Bench;
use crate::rounds::median;

pub fn run(bench: &mut Bench) {
    if !bench.starts_part(&["retry/"], "retry: an operation that is ready immediately") {
        return;
    }
    let (standard, never) = (RetryPolicy::default(), RetryPolicy::never());
    let mut times: [Vec<Duration>; 3] = Default::default();
    // The rounds are short, so there are more of them. The first one is a warm-up.
    let rounds = bench.rounds.rounds * 4 + 1;
    for round in 0..=rounds {
        let round_times = [time(bare), time(|| retried(&standard)), time(|| retried(&never))];
        if round > 0 {
            times.iter_mut().zip(round_times).for_each(|(times, time)| times.push(time));
        }
    }

    let [bare, standard, never] =
        times.map(|times| median(times.iter().map(Duration::as_secs_f64)) * 1e9 / f64::from(CALLS));
    print_stdout(&format_args!(
        "  await only              {bare:>7.2} ns   (medians of {rounds} rounds)\n\
         \x20 Retry, default policy   {standard:>7.2} ns\n\
         \x20 Retry, one attempt only {never:>7.2} ns"
    ));
    bench.table.report("retry/ready/bare", standard / bare);
    bench.table.report("retry/ready/nanoseconds", standard - bare);
}

/// Returns the operation, which is ready at the first poll.
fn operation() -> Ready<Result<u64, Class>> {
    ready(Ok(black_box(7)))
}

fn bare() -> u64 {
    poll_once(async { black_box(operation().await.unwrap_or_default()) })
}

fn retried(policy: &RetryPolicy) -> u64 {
    poll_once(async {
        let retried = Retry::classify_with(policy, operation, |class| *class).await;
        black_box(retried.into_result().unwrap_or_default())
    })
}

/// Polls a future once.
fn poll_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("the operation is ready"),
    }
}

/// Returns the duration of [`CALLS`] calls.
fn time(call: impl Fn() -> u64) -> Duration {
    let started = Instant::now();
    for _ in 0..CALLS {
        black_box(call());
    }
    started.elapsed()
}

const CALLS: u32 = 1_000_000;

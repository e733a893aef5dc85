//! What `Retry` costs around an operation that is ready at once, beside awaiting it bare.

use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use console::print_stdout;
use eddyline::retry::Retry;
use eddyline::{Class, RetryPolicy};

use crate::Bench;
use crate::rounds::middle;

pub fn run(bench: &mut Bench) {
    if !bench.begins(&["retry/"], "retry: an operation that is ready at once") {
        return;
    }
    let (standard, never) = (RetryPolicy::default(), RetryPolicy::never());
    let mut times: [Vec<Duration>; 3] = Default::default();
    // Rounds of this are short. The first warms up and does not count.
    let rounds = bench.rounds.rounds * 4 + 1;
    for round in 0..=rounds {
        let turn = [time(bare), time(|| retried(&standard)), time(|| retried(&never))];
        if round > 0 {
            times.iter_mut().zip(turn).for_each(|(times, time)| times.push(time));
        }
    }

    let [bare, standard, never] =
        times.map(|times| middle(times.iter().map(Duration::as_secs_f64)) * 1e9 / f64::from(CALLS));
    print_stdout(&format_args!(
        "  bare                    {bare:>7.2} ns   (medians of {rounds} rounds)\n\
         \x20 Retry, default policy   {standard:>7.2} ns\n\
         \x20 Retry, one attempt only {never:>7.2} ns"
    ));
    bench.table.report("retry/ready/bare", standard / bare);
    bench.table.report("retry/ready/nanoseconds", standard - bare);
}

/// Stands for the log's end, which some cache knows.
fn head() -> Ready<Result<u64, Class>> {
    ready(Ok(black_box(7)))
}

fn bare() -> u64 {
    now(async { black_box(head().await.unwrap_or_default()) })
}

fn retried(policy: &RetryPolicy) -> u64 {
    now(async {
        let retried = Retry::classify_with(policy, head, |class| *class).await;
        black_box(retried.into_result().unwrap_or_default())
    })
}

/// Polls once.
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("the operation is ready"),
    }
}

/// Returns the time of one call, of many.
fn time(call: impl Fn() -> u64) -> Duration {
    let started = Instant::now();
    for _ in 0..CALLS {
        black_box(call());
    }
    started.elapsed()
}

const CALLS: u32 = 1_000_000;

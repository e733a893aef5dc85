//! What `Retry` costs around an operation that is ready at once: time beside awaiting it bare, and
//! allocations. It needs no server.

use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use eddyline::{Class, Retry, RetryPolicy};

/// Stands for the log's end, which some cache knows.
fn head() -> Ready<Result<u64, Class>> {
    ready(Ok(black_box(7)))
}

fn bare() -> u64 {
    now(async { black_box(head().await.unwrap_or_default()) })
}

fn retried(policy: &RetryPolicy) -> u64 {
    now(async {
        let retried = Retry::with_classes(policy, head, |class| *class).await;
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

fn main() {
    let rounds = std::env::var("EDDYLINE_BENCH_ROUNDS")
        .map_or(21, |rounds| rounds.parse().expect("a number"));
    let (standard, never) = (RetryPolicy::default(), RetryPolicy::never());
    let mut times: [Vec<Duration>; 3] = Default::default();
    // The first round warms up and does not count.
    for round in 0..=rounds {
        let turn = [time(bare), time(|| retried(&standard)), time(|| retried(&never))];
        if round > 0 {
            times.iter_mut().zip(turn).for_each(|(times, time)| times.push(time));
        }
    }

    let [bare_ns, standard_ns, never_ns] = times.map(|mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e9 / f64::from(CALLS)
    });
    let allocated = allocation_counter::measure(|| {
        black_box(retried(&standard));
    });
    println!("medians of {rounds} rounds of {CALLS} calls each, taking turns");
    println!("  bare                    {bare_ns:>7.2} ns");
    println!("  Retry, default policy   {standard_ns:>7.2} ns");
    println!("  Retry, one attempt only {never_ns:>7.2} ns");
    let result = |name, value: f64, what| println!("RATIO {name} {value:.3}   # {what}");
    let to_bare = "a ready future through Retry under the default policy, to awaiting it bare";
    result("retry/ready/bare", standard_ns / bare_ns, to_bare);
    result(
        "retry/ready/nanoseconds",
        standard_ns - bare_ns,
        "ns that Retry adds to a ready future",
    );
    let count = allocated.count_total as f64;
    result("retry/ready/allocations", count, "allocations for a ready future through Retry");
}

const CALLS: u32 = 1_000_000;

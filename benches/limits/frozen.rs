//! Reads while one of three replicas is frozen.
//!
//! The reads begin at fixed times, whether earlier ones have ended or not. So no read is left out
//! because others hang.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use console::print_stdout;
use eddyline::{ReadOnly, Store};
use tokio::time::Instant;

use crate::Bench;
use crate::replicas::query;
use crate::replicated::Replicated;
use crate::rounds::{clear_progress, median};

pub async fn run(bench: &mut Bench) {
    let names =
        ["replicas/frozen/p99", "replicas/frozen/longest-ms", "replicas/frozen/longest-ms/before"];
    let title = format!("replicas: a read each {PERIOD:?}, one of three replicas frozen");
    if !bench.starts_part(&names, &title) {
        return;
    }
    let replicated = Replicated::start(3).await;
    let store = replicated.reader(3).await;
    let (mut ratios, mut longest, mut longest_before) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=bench.rounds.rounds.min(ROUNDS) {
        wait_for_all(&store).await;
        bench.rounds.show_progress(round, "reads");
        let before = reads(&store, async || ()).await;
        bench.rounds.show_progress(round, "reads while a replica is frozen");
        let frozen = replicated.standby(round as usize % 3);
        let during = reads(&store, async || frozen.freeze().await.expect("a stop")).await;
        frozen.thaw().expect("a continuation");
        clear_progress();
        print_stdout(&format_args!("  before: {before}\n  frozen: {during}"));
        if round > 0 {
            ratios.push(during.p99() / before.p99());
            longest.push(during.longest());
            longest_before.push(before.longest());
        }
    }
    bench.table.report(names[0], median(ratios));
    bench.table.report(names[1], median(longest) * 1e3);
    bench.table.report(names[2], median(longest_before) * 1e3);
}

/// Reads until every replica has answered, so that all are in use.
async fn wait_for_all(store: &Store<ReadOnly>) {
    let (mut answered, mut count) = (BTreeSet::new(), 0);
    while answered.len() < 3 {
        answered.insert(query(store, count).await.served_by().to_string());
        count += 1;
    }
}

/// Reads at fixed times. A quarter of the time later, `interfere` runs. Returns when all reads have
/// ended.
async fn reads(store: &Store<ReadOnly>, interfere: impl AsyncFnOnce()) -> Times {
    let started = Instant::now();
    let reads: Vec<_> = (0..READS)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                tokio::time::sleep_until(started + PERIOD * number).await;
                let begun = Instant::now();
                query(&store, number.into()).await;
                begun.elapsed()
            })
        })
        .collect();
    tokio::time::sleep_until(started + PERIOD * READS / 4).await;
    interfere().await;
    let mut times = Vec::new();
    for read in reads {
        times.push(read.await.expect("a read"));
    }
    times.sort_unstable();
    Times(times)
}

/// The times of reads, in ascending order.
struct Times(Vec<Duration>);

impl Times {
    fn percentile(&self, percent: usize) -> Duration {
        self.0[(self.0.len() - 1) * percent / 100]
    }

    fn p99(&self) -> f64 {
        self.percentile(99).as_secs_f64()
    }

    fn longest(&self) -> f64 {
        self.percentile(100).as_secs_f64()
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, longest] = [50, 99, 100].map(|percent| self.percentile(percent));
        let slow = self.0.iter().filter(|time| **time > SLOW).count();
        write!(
            f,
            "p50 {p50:.1?}, p99 {p99:.1?}, longest {longest:.1?}, {slow} of {} longer than {SLOW:?}",
            self.0.len()
        )
    }
}

/// The number of reads of a measurement.
const READS: u32 = 1_600;
const PERIOD: Duration = Duration::from_micros(2_500);
/// The most rounds: each takes several seconds.
const ROUNDS: u64 = 5;
/// A read that took longer has met the frozen replica.
const SLOW: Duration = Duration::from_millis(50);

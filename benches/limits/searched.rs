//! The cost of appends whose condition needs a search before the lock, for the append itself and
//! for other appends.

use std::sync::Arc;
use std::time::Instant;

use crate::Bench;
use crate::clients::{Plain, Writer};
use crate::rounds::Workload;
use crate::seed::Seed;

/// The number of terms of a wide filter, the maximum.
const WIDE: usize = 10_000;
/// The number of clients that append concurrently with the one with the wide filter.
const OTHERS: usize = 8;

pub async fn run(bench: &mut Bench) {
    for clients in [1, 8, 64, 256] {
        no_match(bench, clients).await;
    }
    first(bench).await;
    wide(bench).await;
    wide_in_another_store(bench).await;
}

async fn no_match(bench: &mut Bench, clients: usize) {
    let name = match clients {
        1 => "append/1/no-match/latency-to-plain".to_owned(),
        clients => format!("append/{clients}/no-match/plain"),
    };
    let title = format!("append: {clients} clients, condition no_match on a new boundary");
    if !bench.starts_part(&[&name], &title) {
        return;
    }
    let (url, seed) = (&bench.url, Seed::USUAL);
    seed.prepare(url).await;
    let ours = Writer::open(seed.config(url)).await;
    let plain = Plain::open(url, &seed.plain(), clients).await;
    let first = Workload::new("append on no_match", clients, move |_, _| {
        let ours = ours.clone();
        async move { ours.append_first().await }
    });

    let results = bench.rounds.run(&[first, plain.workload("plain INSERT")]).await;

    let [ours, plain] = results.as_slice() else { unreachable!("two workloads ran") };
    let ratio = if clients == 1 { ours.median_to(plain) } else { ours.rate_to(plain) };
    bench.table.report(&name, ratio);
}

/// Compares the first append of a store that has just connected with a later one. Both have the
/// condition that no event of a new boundary exists.
async fn first(bench: &mut Bench) {
    if !bench.starts_part(
        &["append/first/latency"],
        "append: the first append of a store, to a later one",
    ) {
        return;
    }
    Seed::USUAL.prepare(&bench.url).await;
    let mut ratios = Vec::new();
    for _ in 0..bench.rounds.rounds {
        let writer = Writer::open(Seed::USUAL.config(&bench.url)).await;
        let first = time(&writer).await;
        for _ in 0..20 {
            writer.append_first().await;
        }
        ratios.push(first / time(&writer).await);
    }
    ratios.sort_by(f64::total_cmp);
    bench.table.report("append/first/latency", ratios[ratios.len() / 2]);
}

async fn time(writer: &Arc<Writer>) -> f64 {
    let started = Instant::now();
    writer.append_first().await;
    started.elapsed().as_secs_f64()
}

async fn wide(bench: &mut Bench) {
    let title = format!("append: {OTHERS} clients, with and without a client with {WIDE} terms");
    if !bench.starts_part(&["append/wide/others"], &title) {
        return;
    }
    Seed::USUAL.prepare(&bench.url).await;
    let writer = Writer::open(Seed::USUAL.config(&bench.url)).await;
    let with_wide = writer.clone();
    let with_wide = Workload::new("with wide appends", OTHERS + 1, move |client, _| {
        let writer = with_wide.clone();
        async move {
            match client {
                OTHERS => writer.append_wide(WIDE).await,
                _ => writer.append(crate::clients::On::Ids, 0).await,
            }
        }
    });
    let alone = writer.workload("conditional append", OTHERS);

    let results = bench.rounds.run(&[with_wide, alone]).await;

    let [with_wide, alone] = results.as_slice() else { unreachable!("two workloads ran") };
    bench.table.report("append/wide/others", with_wide.median_to(alone));
}

/// Measures the same with the wide filter in another store, so that the server validates all
/// conditions.
async fn wide_in_another_store(bench: &mut Bench) {
    let title = format!("append: {OTHERS} clients, with another store with {WIDE} terms or few");
    if !bench.starts_part(&["append/wide/others/elsewhere"], &title) {
        return;
    }
    Seed::USUAL.prepare(&bench.url).await;
    let writer = Writer::open(Seed::USUAL.config(&bench.url)).await;
    let other = Writer::open(Seed::USUAL.config(&bench.url)).await;
    let workload = |name, is_wide: bool| {
        let (writer, other) = (writer.clone(), other.clone());
        Workload::new(name, OTHERS + 1, move |client, _| {
            let (writer, other) = (writer.clone(), other.clone());
            async move {
                match client {
                    OTHERS if is_wide => other.append_wide(WIDE).await,
                    OTHERS => other.append(crate::clients::On::Ids, 0).await,
                    _ => writer.append(crate::clients::On::Ids, 0).await,
                }
            }
        })
    };
    let wide = workload("with wide appends of another store", true);
    let narrow = workload("with appends of another store", false);

    let results = bench.rounds.run(&[wide, narrow]).await;

    let [wide, narrow] = results.as_slice() else { unreachable!("two workloads ran") };
    bench.table.report("append/wide/others/elsewhere", wide.median_to(narrow));
}

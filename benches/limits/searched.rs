//! What an append costs whose condition has to be searched for outside of the log's lock, and what it
//! costs others.

use std::sync::Arc;
use std::time::Instant;

use crate::Bench;
use crate::clients::{Plain, Writer};
use crate::rounds::Contestant;
use crate::seed::Seed;

/// The terms of a wide filter, as many as there may be.
const WIDE: usize = 10_000;
/// How many clients append beside the one with the wide filter.
const OTHERS: usize = 8;

pub async fn run(bench: &mut Bench) {
    for clients in [1, 8, 64, 256] {
        no_match(bench, clients).await;
    }
    first(bench).await;
    wide(bench).await;
    wide_elsewhere(bench).await;
}

async fn no_match(bench: &mut Bench, clients: usize) {
    let name = match clients {
        1 => "append/1/no-match/latency-to-plain".to_owned(),
        clients => format!("append/{clients}/no-match/plain"),
    };
    let title = format!("append: {clients} clients, if nothing of a boundary ever came");
    if !bench.begins(&[&name], &title) {
        return;
    }
    let (url, seed) = (&bench.url, Seed::USUAL);
    seed.prepare(url).await;
    let ours = Writer::open(seed.config(url)).await;
    let plain = Plain::open(url, &seed.plain(), clients).await;
    let first = Contestant::new("append on no_match", clients, move |_, _| {
        let ours = ours.clone();
        async move { ours.append_first().await }
    });

    let results = bench.rounds.run(&[first, plain.contestant("plain INSERT")]).await;

    let [ours, plain] = results.as_slice() else { unreachable!("two took part") };
    let ratio = if clients == 1 { ours.median_to(plain) } else { ours.rate_to(plain) };
    bench.table.report(&name, ratio);
}

/// Measures the first append of a store that has just connected, on a condition on which nothing ever
/// came, and a later one.
async fn first(bench: &mut Bench) {
    if !bench.begins(&["append/first/latency"], "append: the first one of a process") {
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
    let title = format!("append: {OTHERS} clients beside one with a filter of {WIDE} terms");
    if !bench.begins(&["append/wide/others"], &title) {
        return;
    }
    Seed::USUAL.prepare(&bench.url).await;
    let writer = Writer::open(Seed::USUAL.config(&bench.url)).await;
    let beside = writer.clone();
    let beside =
        Contestant::new("conditional append, beside a wide one", OTHERS + 1, move |client, _| {
            let writer = beside.clone();
            async move {
                match client {
                    OTHERS => writer.append_wide(WIDE).await,
                    _ => writer.append(crate::clients::On::Ids, 0).await,
                }
            }
        });
    let alone = writer.contestant("conditional append", OTHERS);

    let results = bench.rounds.run(&[beside, alone]).await;

    let [beside, alone] = results.as_slice() else { unreachable!("two took part") };
    bench.table.report("append/wide/others", beside.median_to(alone));
}

/// The same, if the wide filter is that of another store, so that the server validates all conditions.
async fn wide_elsewhere(bench: &mut Bench) {
    let title = format!("append: {OTHERS} clients beside another store with {WIDE} terms");
    if !bench.begins(&["append/wide/others/elsewhere"], &title) {
        return;
    }
    Seed::USUAL.prepare(&bench.url).await;
    let writer = Writer::open(Seed::USUAL.config(&bench.url)).await;
    let other = Writer::open(Seed::USUAL.config(&bench.url)).await;
    let beside = |name, is_wide: bool| {
        let (writer, other) = (writer.clone(), other.clone());
        Contestant::new(name, OTHERS + 1, move |client, _| {
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
    let wide = beside("conditional append, beside a wide one of another store", true);
    let narrow = beside("conditional append, beside another store", false);

    let results = bench.rounds.run(&[wide, narrow]).await;

    let [wide, narrow] = results.as_slice() else { unreachable!("two took part") };
    bench.table.report("append/wide/others/elsewhere", wide.median_to(narrow));
}

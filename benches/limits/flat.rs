//! The cost of an append by the length of the log and by the age of its condition.

use crate::Bench;
use crate::clients::{On, Plain, Writer};
use crate::seed::Seed;

pub async fn run(bench: &mut Bench) {
    sizes(bench).await;
    ages(bench).await;
}

async fn sizes(bench: &mut Bench) {
    let names = ["append/flat/id", "append/flat/type", "append/flat/plain"];
    if !bench.starts_part(&names, "append: 10 thousand events and 10 million, 1 client") {
        return;
    }
    let mut workloads = Vec::new();
    for (seed, size) in [(Seed::SMALL, "10k"), (Seed::LARGE, "10m")] {
        seed.prepare(&bench.url).await;
        let writer = Writer::open(seed.config(&bench.url)).await;
        let plain = Plain::open(&bench.url, &seed.plain(), 1).await;
        workloads.push(writer.workload(format!("append on an id, {size}"), 1));
        workloads.push(writer.workload_on(format!("append on a type, {size}"), 1, On::Type, 0));
        workloads.push(plain.workload(format!("plain INSERT, {size}")));
    }
    // Each workload runs next to the same one of the other size.
    let order = [0, 3, 1, 4, 2, 5];
    let mut slots: Vec<_> = workloads.into_iter().map(Some).collect();
    let workloads: Vec<_> = order.iter().filter_map(|&slot| slots[slot].take()).collect();

    let results = bench.rounds.run(&workloads).await;

    for (name, pair) in names.iter().zip(results.chunks(2)) {
        bench.table.report(name, pair[1].median_to(&pair[0]));
    }
}

async fn ages(bench: &mut Bench) {
    let names = ["append/flat/old", "append/flat/far"];
    if !bench.starts_part(&names, "append: old conditions, 1 client") {
        return;
    }
    Seed::USUAL.prepare(&bench.url).await;
    let writer = Writer::open(Seed::USUAL.config(&bench.url)).await;
    let workloads = [
        writer.workload("fresh condition", 1),
        writer.workload_on("100,000 events old", 1, On::Ids, 100_000),
        writer.workload_on("2,000,000 events old", 1, On::Ids, 2_000_000),
    ];

    let results = bench.rounds.run(&workloads).await;

    for (name, old) in names.iter().zip(&results[1..]) {
        bench.table.report(name, old.median_to(&results[0]));
    }
}

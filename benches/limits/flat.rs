//! Whether an append costs the same however long the log is, and however old its condition.

use crate::Bench;
use crate::clients::{On, Plain, Writer};
use crate::seed::Seed;

pub async fn run(bench: &mut Bench) {
    sizes(bench).await;
    ages(bench).await;
}

async fn sizes(bench: &mut Bench) {
    let names = ["append/flat/id", "append/flat/type", "append/flat/plain"];
    if !bench.begins(&names, "append: 10 thousand events and 10 million, 1 client") {
        return;
    }
    let mut contestants = Vec::new();
    for (seed, size) in [(Seed::SMALL, "10k"), (Seed::LARGE, "10m")] {
        seed.prepare(&bench.url).await;
        let writer = Writer::open(seed.config(&bench.url)).await;
        let plain = Plain::open(&bench.url, &seed.plain(), 1).await;
        contestants.push(writer.contestant(format!("append on an id, {size}"), 1));
        contestants.push(writer.contestant_on(format!("append on a type, {size}"), 1, On::Type, 0));
        contestants.push(plain.contestant(format!("plain INSERT, {size}")));
    }
    // Each beside its like of the other size.
    let order = [0, 3, 1, 4, 2, 5];
    let mut slots: Vec<_> = contestants.into_iter().map(Some).collect();
    let contestants: Vec<_> = order.iter().filter_map(|&slot| slots[slot].take()).collect();

    let results = bench.rounds.run(&contestants).await;

    for (name, pair) in names.iter().zip(results.chunks(2)) {
        bench.table.report(name, pair[1].median_to(&pair[0]));
    }
}

async fn ages(bench: &mut Bench) {
    let names = ["append/flat/old", "append/flat/far"];
    if !bench.begins(&names, "append: old conditions, 1 client") {
        return;
    }
    Seed::USUAL.prepare(&bench.url).await;
    let writer = Writer::open(Seed::USUAL.config(&bench.url)).await;
    let contestants = [
        writer.contestant("fresh condition", 1),
        writer.contestant_on("100,000 events old", 1, On::Ids, 100_000),
        writer.contestant_on("2,000,000 events old", 1, On::Ids, 2_000_000),
    ];

    let results = bench.rounds.run(&contestants).await;

    for (name, old) in names.iter().zip(&results[1..]) {
        bench.table.report(name, old.median_to(&results[0]));
    }
}

//! What a conditional append costs, beside a plain insert and beside the predecessor's statement.
//!
//! Each append has a boundary of its own; its condition is as old as the last append.

use crate::Bench;
use crate::clients::{Plain, Predecessor, Writer};
use crate::rounds::Contestant;
use crate::seed::Seed;

pub async fn run(bench: &mut Bench) {
    alone(bench).await;
    for clients in [8, 64, 256] {
        together(bench, clients).await;
    }
    predecessor(bench, Seed::USUAL, 64, "append/64/predecessor").await;
    predecessor(bench, Seed::SMALL, 1, "append/small/1/predecessor").await;
    predecessor(bench, Seed::SMALL, 64, "append/small/64/predecessor").await;
}

async fn alone(bench: &mut Bench) {
    if !bench.begins(&["append/1/"], "append: 1 client") {
        return;
    }
    let results = bench.rounds.run(&contestants(bench, Seed::USUAL, 1, true).await).await;

    let [ours, plain, predecessor] = results.as_slice() else { unreachable!("three took part") };
    bench.table.report("append/1/latency-to-plain", ours.median_to(plain));
    bench.table.report("append/1/predecessor", ours.rate_to(predecessor));
}

async fn together(bench: &mut Bench, clients: usize) {
    let name = format!("append/{clients}/plain");
    let tail = format!("append/{clients}/p99-to-p50");
    if !bench.begins(&[&name, &tail], &format!("append: {clients} clients")) {
        return;
    }
    let results = bench.rounds.run(&contestants(bench, Seed::USUAL, clients, false).await).await;

    let [ours, plain] = results.as_slice() else { unreachable!("two took part") };
    bench.table.report(&name, ours.rate_to(plain));
    if clients == 64 {
        bench.table.report(&tail, ours.tail_to_median());
        bench.table.report(&format!("{tail}/plain"), plain.tail_to_median());
    }
}

async fn predecessor(bench: &mut Bench, seed: Seed, clients: usize, name: &str) {
    if !bench.begins(&[name], &format!("{name}: the predecessor's statement, {clients} clients")) {
        return;
    }
    let mut contestants = contestants(bench, seed, clients, true).await;
    if seed == Seed::USUAL {
        // A turn lasts until each client has its answer, which takes the better part of a minute.
        let predecessor = contestants.pop().map(|predecessor| predecessor.seldom(2));
        contestants.extend(predecessor);
    }
    let results = bench.rounds.run(&contestants).await;

    let [ours, _, predecessor] = results.as_slice() else { unreachable!("three took part") };
    bench.table.report(name, ours.rate_to(predecessor));
}

async fn contestants(
    bench: &Bench,
    seed: Seed,
    clients: usize,
    with_predecessor: bool,
) -> Vec<Contestant> {
    let url = &bench.url;
    seed.prepare(url).await;
    let ours = Writer::open(seed.config(url)).await;
    let plain = Plain::open(url, &seed.plain(), clients).await;
    let mut contestants =
        vec![ours.contestant("conditional append", clients), plain.contestant("plain INSERT")];
    if with_predecessor {
        let predecessor = Predecessor::open(url, seed.predecessor(), clients).await;
        contestants.push(predecessor.contestant());
    }
    contestants
}

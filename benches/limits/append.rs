//! The cost of a conditional append, compared with a plain INSERT and with the append statement of
//! the predecessor of this crate.
//!
//! Each append has a boundary of its own. Its condition names the position of the last append.

use crate::Bench;
use crate::clients::{Plain, Predecessor, Writer};
use crate::rounds::Workload;
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
    if !bench.starts_part(
        &["append/1/"],
        "append: 1 client, to plain INSERT and to the predecessor's statement",
    ) {
        return;
    }
    let results = bench.rounds.run(&workloads(bench, Seed::USUAL, 1, true).await).await;

    let [ours, plain, predecessor] = results.as_slice() else {
        unreachable!("three workloads ran")
    };
    bench.table.report("append/1/latency-to-plain", ours.median_to(plain));
    bench.table.report("append/1/predecessor", ours.rate_to(predecessor));
}

async fn together(bench: &mut Bench, clients: usize) {
    let name = format!("append/{clients}/plain");
    let tail = format!("append/{clients}/p99-to-p50");
    if !bench.starts_part(&[&name, &tail], &format!("append: {clients} clients, to plain INSERT")) {
        return;
    }
    let results = bench.rounds.run(&workloads(bench, Seed::USUAL, clients, false).await).await;

    let [ours, plain] = results.as_slice() else { unreachable!("two workloads ran") };
    bench.table.report(&name, ours.rate_to(plain));
    if clients == 64 {
        bench.table.report(&tail, ours.tail_to_median());
        bench.table.report(&format!("{tail}/plain"), plain.tail_to_median());
    }
}

async fn predecessor(bench: &mut Bench, seed: Seed, clients: usize, name: &str) {
    if !bench
        .starts_part(&[name], &format!("{name}: the predecessor's statement, {clients} clients"))
    {
        return;
    }
    let mut workloads = workloads(bench, seed, clients, true).await;
    if seed == Seed::USUAL {
        // A round lasts until each client has its reply, which takes up to a minute here.
        let predecessor = workloads.pop().map(|predecessor| predecessor.in_rounds(2));
        workloads.extend(predecessor);
    }
    let results = bench.rounds.run(&workloads).await;

    let [ours, _, predecessor] = results.as_slice() else { unreachable!("three workloads ran") };
    bench.table.report(name, ours.rate_to(predecessor));
}

async fn workloads(
    bench: &Bench,
    seed: Seed,
    clients: usize,
    with_predecessor: bool,
) -> Vec<Workload> {
    let url = &bench.url;
    seed.prepare(url).await;
    let ours = Writer::open(seed.config(url)).await;
    let plain = Plain::open(url, &seed.plain(), clients).await;
    let mut workloads =
        vec![ours.workload("conditional append", clients), plain.workload("plain INSERT")];
    if with_predecessor {
        let predecessor = Predecessor::open(url, seed.predecessor(), clients).await;
        workloads.push(predecessor.workload());
    }
    workloads
}

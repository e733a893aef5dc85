//! A single workload for a profiler. It runs only if the command line names it.

use std::time::Duration;

use console::print_stdout;
use eddyline::{ReadWrite, Store};

use crate::Bench;
use crate::clients::{Plain, Writer};
use crate::cluster::connect;
use crate::query::lending;
use crate::rounds::{Measured, Rounds, Workload};
use crate::seed::Seed;

pub async fn run(bench: &mut Bench) {
    for (name, way) in WAYS {
        if bench.is_requested(&[name]) && bench.starts_part(&[name], name) {
            Seed::USUAL.prepare(&bench.url).await;
            run_repeatedly(bench, &workload(bench, way).await).await;
        }
    }
}

#[derive(Clone, Copy)]
enum Way {
    Append,
    Insert,
    Query,
    Select,
}

const WAYS: [(&str, Way); 4] = [
    ("profile/append", Way::Append),
    ("profile/insert", Way::Insert),
    ("profile/query", Way::Query),
    ("profile/select", Way::Select),
];

async fn workload(bench: &Bench, way: Way) -> Workload {
    let (url, seed) = (&bench.url, Seed::USUAL);
    let store = async || Store::<ReadWrite>::connect(seed.config(url)).await.expect("a store");
    match way {
        Way::Append => Writer::open(seed.config(url)).await.workload("append", 1),
        Way::Insert => Plain::open(url, &seed.plain(), 1).await.workload("plain INSERT"),
        Way::Query => lending(url, &store().await).await.0,
        Way::Select => lending(url, &store().await).await.1,
    }
}

async fn run_repeatedly(bench: &Bench, workload: &Workload) {
    let measure = async |time| Rounds { rounds: 1, time }.measure(workload, 0).await;
    measure(bench.rounds.time).await;
    let sql = connect(&bench.url).await;
    let text = "SELECT string_agg(pid::text, ',') FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()
             AND backend_type = 'client backend'";
    let backends: String = sql.query_one(text, &[]).await.expect("backends").get(0);
    let client = std::process::id();
    print_stdout(&format_args!(
        "  for {TIME:?}: perf record --call-graph dwarf -p {client} -- sleep 10   (the client)\n\
         \x20           perf record -p {backends} -- sleep 10   (the server)"
    ));

    let (times, elapsed) = measure(TIME).await;

    print_stdout(&format_args!("  {} calls", times.len()));
    let mut measured = Measured::new(workload.name());
    measured.record(times, elapsed);
    measured.print();
}

const TIME: Duration = Duration::from_secs(30);

//! One way to append or to read, again and again, for a profiler to look at. It runs only where it
//! is asked for.

use std::time::Duration;

use console::print_stdout;
use eddyline::{ReadWrite, Store};

use crate::Bench;
use crate::clients::{Plain, Writer};
use crate::cluster::connect;
use crate::query::lending;
use crate::rounds::{Contestant, Measured, Rounds};
use crate::seed::Seed;

pub async fn run(bench: &mut Bench) {
    for (name, way) in WAYS {
        if bench.asks_for(&[name]) && bench.begins(&[name], name) {
            Seed::USUAL.prepare(&bench.url).await;
            repeat(bench, &contestant(bench, way).await).await;
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

async fn contestant(bench: &Bench, way: Way) -> Contestant {
    let (url, seed) = (&bench.url, Seed::USUAL);
    let store = async || Store::<ReadWrite>::connect(seed.config(url)).await.expect("a store");
    match way {
        Way::Append => Writer::open(seed.config(url)).await.contestant("append", 1),
        Way::Insert => Plain::open(url, &seed.plain(), 1).await.contestant("plain INSERT"),
        Way::Query => lending(url, &store().await).await.0,
        Way::Select => lending(url, &store().await).await.1,
    }
}

async fn repeat(bench: &Bench, contestant: &Contestant) {
    let turn = async |time| Rounds { rounds: 1, time }.turn(contestant, 0).await;
    turn(bench.rounds.time).await;
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

    let (times, elapsed) = turn(TIME).await;

    print_stdout(&format_args!("  {} times", times.len()));
    let mut measured = Measured::new(contestant.name());
    measured.note(times, elapsed);
    measured.print();
}

const TIME: Duration = Duration::from_secs(30);

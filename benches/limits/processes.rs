//! The throughput of several processes that append to one log, compared with one process.

use std::time::Duration;

use crate::Bench;
use crate::child::{Child, serve};
use crate::clients::{Plain, Writer};
use crate::rounds::{Measured, Rounds, clear_progress};
use crate::seed::{Seed, config};

pub const ROLE: &str = "append";

pub async fn run(bench: &mut Bench) {
    let title = format!("append: {CLIENTS} clients in 1, 2, 4 and 8 processes");
    if !bench.starts_part(&["append/processes/"], &title) {
        return;
    }
    Seed::USUAL.prepare(&bench.url).await;
    let mut groups = [1, 2, 4, 8].map(|size| ProcessGroup::start(&bench.url, size));
    let plain = Plain::open(&bench.url, &Seed::USUAL.plain(), CLIENTS).await;
    let plain = plain.workload(format!("plain INSERT, {CLIENTS} clients"));
    let mut inserts = Measured::new(plain.name());
    let Rounds { rounds, time } = bench.rounds;
    for round in 0..=rounds {
        for group in &mut groups {
            bench.rounds.show_progress(round, &group.name);
            let rate = group.append(time);
            if round > 0 {
                group.measured.record_rate(rate);
            }
        }
        bench.rounds.show_progress(round, plain.name());
        let (times, elapsed) = bench.rounds.measure(&plain, round).await;
        if round > 0 {
            inserts.record_rate(times.len() as f64 / elapsed.as_secs_f64());
        }
    }
    clear_progress();
    groups.iter().for_each(|group| group.measured.print());
    inserts.print();

    let [one, two, four, eight] = groups.each_ref().map(|group| &group.measured);
    bench.table.report("append/processes/2", two.rate_to(one));
    bench.table.report("append/processes/4", four.rate_to(one));
    bench.table.report("append/processes/8", eight.rate_to(one));
    bench.table.report("append/processes/8/plain", eight.rate_to(&inserts));
}

/// A group of processes that append at the same time.
struct ProcessGroup {
    name: String,
    processes: Vec<Child>,
    measured: Measured,
}

impl ProcessGroup {
    fn start(url: &str, size: usize) -> Self {
        let clients = (CLIENTS / size).to_string();
        let log = Seed::USUAL.log();
        let name = format!("{size} processes x {clients} clients");
        let start = |_| Child::start(ROLE, &[url, &log, &clients]);
        Self { processes: (0..size).map(start).collect(), measured: Measured::new(&name), name }
    }

    /// Lets all processes append for a while. Returns their total appends per second.
    fn append(&mut self, time: Duration) -> f64 {
        let milliseconds = time.as_millis().to_string();
        self.processes.iter_mut().for_each(|process| process.send(&milliseconds));
        let rates = self.processes.iter_mut().map(|process| process.receive());
        rates.map(|rate| rate.parse::<f64>().expect("a rate")).sum()
    }
}

/// Runs one of the processes: appends for as many milliseconds as each command says, and replies
/// with the appends per second.
pub async fn child(arguments: &[String]) {
    let [url, log, clients] = arguments else { panic!("an address, a log and a number") };
    let clients: usize = clients.parse().expect("a number");
    let writer = Writer::open(config(url, log).max_connections(clients as u32)).await;
    let workload = writer.workload("conditional append", clients);
    serve(async |line| {
        let time = Duration::from_millis(line.parse().expect("a number"));
        let (times, elapsed) = Rounds { rounds: 1, time }.measure(&workload, 0).await;
        (times.len() as f64 / elapsed.as_secs_f64()).to_string()
    })
    .await;
}

const CLIENTS: usize = 64;

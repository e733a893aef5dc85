//! Whether several processes that append to one log are as fast together as one.

use std::time::Duration;

use crate::Bench;
use crate::child::{Child, answer};
use crate::clients::{Plain, Writer};
use crate::rounds::{Measured, Rounds, done_telling};
use crate::seed::{Seed, config};

pub const ROLE: &str = "append";

pub async fn run(bench: &mut Bench) {
    let title = format!("append: {CLIENTS} clients in 1 process, in 2, in 4 and in 8");
    if !bench.begins(&["append/processes/"], &title) {
        return;
    }
    Seed::USUAL.prepare(&bench.url).await;
    let mut teams = [1, 2, 4, 8].map(|size| Team::start(&bench.url, size));
    let plain = Plain::open(&bench.url, &Seed::USUAL.plain(), CLIENTS).await;
    let plain = plain.contestant(format!("plain INSERT, {CLIENTS} clients"));
    let mut inserts = Measured::new(plain.name());
    let Rounds { rounds, time } = bench.rounds;
    for round in 0..=rounds {
        for team in &mut teams {
            bench.rounds.tell(round, &team.name);
            let rate = team.append(time);
            if round > 0 {
                team.measured.note_rate(rate);
            }
        }
        bench.rounds.tell(round, plain.name());
        let (times, elapsed) = bench.rounds.turn(&plain, round).await;
        if round > 0 {
            inserts.note_rate(times.len() as f64 / elapsed.as_secs_f64());
        }
    }
    done_telling();
    teams.iter().for_each(|team| team.measured.print());
    inserts.print();

    let [one, two, four, eight] = teams.each_ref().map(|team| &team.measured);
    bench.table.report("append/processes/2", two.rate_to(one));
    bench.table.report("append/processes/4", four.rate_to(one));
    bench.table.report("append/processes/8", eight.rate_to(one));
    bench.table.report("append/processes/8/plain", eight.rate_to(&inserts));
}

/// Processes that append at the same time.
struct Team {
    name: String,
    processes: Vec<Child>,
    measured: Measured,
}

impl Team {
    fn start(url: &str, size: usize) -> Self {
        let clients = (CLIENTS / size).to_string();
        let log = Seed::USUAL.log();
        let name = format!("{size} x {clients} clients");
        let start = |_| Child::start(ROLE, &[url, &log, &clients]);
        Self { processes: (0..size).map(start).collect(), measured: Measured::new(&name), name }
    }

    /// Lets all append for a while; returns how many appends per second they made together.
    fn append(&mut self, time: Duration) -> f64 {
        let milliseconds = time.as_millis().to_string();
        self.processes.iter_mut().for_each(|process| process.tell(&milliseconds));
        let rates = self.processes.iter_mut().map(|process| process.hear());
        rates.map(|rate| rate.parse::<f64>().expect("a rate")).sum()
    }
}

/// Is one of the processes: appends for as many milliseconds as a line says, and answers with the
/// appends per second.
pub async fn child(arguments: &[String]) {
    let [url, log, clients] = arguments else { panic!("an address, a log and a number") };
    let clients: usize = clients.parse().expect("a number");
    let writer = Writer::open(config(url, log).max_connections(clients as u32)).await;
    let contestant = writer.contestant("conditional append", clients);
    answer(async |line| {
        let time = Duration::from_millis(line.parse().expect("a number"));
        let (times, elapsed) = Rounds { rounds: 1, time }.turn(&contestant, 0).await;
        (times.len() as f64 / elapsed.as_secs_f64()).to_string()
    })
    .await;
}

const CLIENTS: usize = 64;

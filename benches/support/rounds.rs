//! Rounds in which contestants take turns.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One way to do the job, to be compared with another.
pub struct Contestant<'a> {
    pub name: &'static str,
    /// How many do it at once.
    pub clients: usize,
    /// Does it once, as a client, for the time it is called.
    pub job: Job<'a>,
}

/// A client and a count that no other call has, to what the client does.
pub type Job<'a> = Arc<dyn Fn(usize, u64) -> Pin<Box<dyn Future<Output = ()> + 'a>> + 'a>;

/// What the rounds of one contestant have shown.
pub struct Measured {
    name: &'static str,
    /// Per round.
    medians: Vec<Duration>,
    rates: Vec<f64>,
}

/// Rounds in which contestants take turns, so that a slow phase of the machine meets them all.
pub struct Rounds {
    pub rounds: u64,
    pub time: Duration,
}

impl Default for Rounds {
    fn default() -> Self {
        let number = |name, default| {
            std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
        };
        Self {
            rounds: number("EDDYLINE_BENCH_ROUNDS", 5),
            time: Duration::from_millis(number("EDDYLINE_BENCH_MILLISECONDS", 1_000)),
        }
    }
}

impl Rounds {
    /// Lets each contestant do its job for a while, in each round; prints and returns what they
    /// did. The first round warms up and does not count.
    pub async fn run(&self, contestants: &[Contestant<'_>]) -> Vec<Measured> {
        let measured = |one: &Contestant<'_>| Measured {
            name: one.name,
            medians: Vec::new(),
            rates: Vec::new(),
        };
        let mut results: Vec<_> = contestants.iter().map(measured).collect();
        for round in 0..=self.rounds {
            for (turn, (contestant, result)) in contestants.iter().zip(&mut results).enumerate() {
                let turn = round * contestants.len() as u64 + turn as u64;
                let (mut times, rate) = self.round(contestant, turn).await;
                if round > 0 {
                    times.sort_unstable();
                    result.medians.push(times[times.len() / 2]);
                    result.rates.push(rate);
                }
            }
        }
        for result in &results {
            println!(
                "  {:<28} p50 {:>10.1?}  {:>9.1}/s   (medians of {} rounds)",
                result.name,
                result.median(),
                result.rate(),
                self.rounds
            );
        }
        results
    }

    async fn round(&self, contestant: &Contestant<'_>, turn: u64) -> (Vec<Duration>, f64) {
        let started = Instant::now();
        let clients = (0..contestant.clients).map(async |client| {
            let mut times = Vec::new();
            let mut count = turn << 40 | (client as u64) << 28;
            while started.elapsed() < self.time || times.is_empty() {
                let begun = Instant::now();
                (contestant.job)(client, count).await;
                times.push(begun.elapsed());
                count += 1;
            }
            times
        });
        let times: Vec<_> = futures_util::future::join_all(clients).await.concat();
        let rate = times.len() as f64 / started.elapsed().as_secs_f64();
        (times, rate)
    }
}

impl Measured {
    /// Returns the median of the rounds' medians.
    pub fn median(&self) -> Duration {
        let mut medians = self.medians.clone();
        medians.sort_unstable();
        medians[medians.len() / 2]
    }

    /// Returns the median of the rounds' rates, per second.
    pub fn rate(&self) -> f64 {
        let mut rates = self.rates.clone();
        rates.sort_unstable_by(f64::total_cmp);
        rates[rates.len() / 2]
    }
}

/// Prints a result.
pub fn ratio(name: &str, value: f64, what: &str) {
    println!("RATIO {name} {value:.3}   # {what}");
}

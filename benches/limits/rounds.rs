//! Rounds in which contestants take turns.

use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use console::print_stdout;

/// One way to do the job, to be compared with another.
pub struct Contestant {
    name: String,
    /// How many do it at once.
    clients: usize,
    /// Does it once, as a client, for the time it is called.
    job: Job,
    /// Makes ready for a turn, which is not measured.
    before: Option<Before>,
    /// In how many rounds it takes part, if not in all.
    rounds: Option<u64>,
}

/// A client and a count that no other call has, to what the client does.
type Job = Arc<dyn Fn(usize, u64) -> Doing + Send + Sync>;

type Before = Box<dyn Fn() -> Doing>;

type Doing = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What the rounds of one contestant have shown.
pub struct Measured {
    name: String,
    /// In seconds, of each round.
    medians: Vec<f64>,
    tails: Vec<f64>,
    /// Per second, of each round.
    rates: Vec<f64>,
}

/// Rounds in which contestants take turns, so that a slow phase of the machine meets them all.
#[derive(Clone, Copy)]
pub struct Rounds {
    pub rounds: u64,
    pub time: Duration,
}

impl Contestant {
    pub fn new<F>(
        name: impl Into<String>,
        clients: usize,
        job: impl Fn(usize, u64) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let job: Job = Arc::new(move |client, count| Box::pin(job(client, count)));
        Self { name: name.into(), clients, job, before: None, rounds: None }
    }

    /// Sets what makes ready for each turn.
    pub fn before<F>(self, before: impl Fn() -> F + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self { before: Some(Box::new(move || Box::pin(before()))), ..self }
    }

    /// Lets it take part in a few rounds only, because a turn takes long.
    pub fn seldom(self, rounds: u64) -> Self {
        Self { rounds: Some(rounds), ..self }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    fn takes_part(&self, round: u64) -> bool {
        self.rounds.is_none_or(|rounds| (1..=rounds).contains(&round))
    }
}

impl Default for Rounds {
    fn default() -> Self {
        Self {
            rounds: number("EDDYLINE_BENCH_ROUNDS", 9).max(1),
            time: Duration::from_millis(number("EDDYLINE_BENCH_MILLISECONDS", 500)),
        }
    }
}

impl Rounds {
    /// Returns rounds of turns that are shorter, for jobs of which there are many.
    pub fn shorter(self, by: u32) -> Self {
        Self { time: self.time / by, ..self }
    }

    /// Lets each contestant do its job for a while, in each round; prints and returns what they
    /// did. The first round warms up and does not count.
    pub async fn run(&self, contestants: &[Contestant]) -> Vec<Measured> {
        let mut results: Vec<_> = contestants.iter().map(|one| Measured::new(&one.name)).collect();
        for round in 0..=self.rounds {
            for (turn, (contestant, result)) in contestants.iter().zip(&mut results).enumerate() {
                if !contestant.takes_part(round) {
                    continue;
                }
                self.tell(round, &contestant.name);
                if let Some(before) = &contestant.before {
                    before().await;
                }
                let turn = round * contestants.len() as u64 + turn as u64;
                let (times, elapsed) = self.turn(contestant, turn).await;
                if round > 0 {
                    result.note(times, elapsed);
                }
            }
        }
        done_telling();
        results.iter().for_each(Measured::print);
        results
    }

    /// Says how far the rounds have come.
    pub fn tell(&self, round: u64, name: &str) {
        let all = self.rounds;
        match round {
            0 => tell(&format!("warming up: {name}")),
            round => tell(&format!("round {round} of {all}: {name}")),
        }
    }

    /// Lets one do its job for a while; returns how long each time took, and all of it.
    pub async fn turn(&self, contestant: &Contestant, turn: u64) -> (Vec<Duration>, Duration) {
        let started = Instant::now();
        let until = started + self.time;
        // Tasks of the runtime's workers, as the handlers of a service are.
        let clients: Vec<_> = (0..contestant.clients)
            .map(|client| {
                let job = contestant.job.clone();
                tokio::spawn(async move {
                    let mut times = Vec::new();
                    let mut count = turn << 40 | (client as u64) << 28;
                    while Instant::now() < until || times.is_empty() {
                        let begun = Instant::now();
                        job(client, count).await;
                        times.push(begun.elapsed());
                        count += 1;
                    }
                    times
                })
            })
            .collect();
        let mut times = Vec::new();
        for client in clients {
            times.extend(client.await.expect("a client that does its job"));
        }
        (times, started.elapsed())
    }
}

impl Measured {
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), medians: Vec::new(), tails: Vec::new(), rates: Vec::new() }
    }

    /// Takes note of a round.
    pub fn note(&mut self, mut times: Vec<Duration>, elapsed: Duration) {
        times.sort_unstable();
        self.medians.push(times[times.len() / 2].as_secs_f64());
        self.tails.push(times[times.len() * 99 / 100].as_secs_f64());
        self.rates.push(times.len() as f64 / elapsed.as_secs_f64());
    }

    /// Takes note of a round of which only the rate is known.
    pub fn note_rate(&mut self, rate: f64) {
        self.rates.push(rate);
    }

    /// Returns the median of the rounds' medians, in seconds.
    pub fn median(&self) -> f64 {
        middle(self.medians.iter().copied())
    }

    /// Returns how the medians are to those of another.
    pub fn median_to(&self, other: &Self) -> f64 {
        ratio(&self.medians, &other.medians)
    }

    /// Returns how the 99th percentiles are to the medians.
    pub fn tail_to_median(&self) -> f64 {
        ratio(&self.tails, &self.medians)
    }

    /// Returns how the rates are to those of another.
    pub fn rate_to(&self, other: &Self) -> f64 {
        ratio(&self.rates, &other.rates)
    }

    pub fn print(&self) {
        let (name, rate, rounds) = (&self.name, middle(self.rates.clone()), self.rates.len());
        let times = match self.medians.is_empty() {
            true => String::new(),
            false => format!(
                "p50 {:>10.1?}  p99 {:>10.1?}",
                Duration::from_secs_f64(self.median()),
                Duration::from_secs_f64(middle(self.tails.clone()))
            ),
        };
        print_stdout(&format_args!(
            "  {name:<34} {times:<36} {rate:>9.1}/s   (medians of {rounds} rounds)"
        ));
    }
}

/// Returns the median of the rounds' ratios: what slows a whole round down counts on both sides.
fn ratio(these: &[f64], those: &[f64]) -> f64 {
    middle(these.iter().zip(those).map(|(this, that)| this / that))
}

/// Returns the number in an environment variable, or a default if it is unset or empty.
pub fn number(name: &str, default: u64) -> u64 {
    variable(name).map_or(default, |value| match value.parse() {
        Ok(number) => number,
        Err(_) => panic!("{name} is {value:?}, and has to be a number"),
    })
}

/// Returns an environment variable. An empty one counts as unset.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Says what is being done, in place of what was said before.
pub fn tell(what: &str) {
    // Nothing depends on it, for example if nobody reads standard error.
    let mut output = std::io::stderr();
    let _ = write!(output, "\r{what:<78}\r").and_then(|()| output.flush());
}

/// Takes away what was said of the progress.
pub fn done_telling() {
    tell("");
}

/// Returns the middle one.
pub fn middle(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

//! Workloads, and rounds in which they run alternately.

use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use console::print_stdout;

/// A workload to measure and compare.
pub struct Workload {
    name: String,
    /// The number of concurrent clients.
    clients: usize,
    /// Runs the operation once.
    operation: Operation,
    /// The preparation before each measurement, which is not measured.
    before: Option<Before>,
    /// The number of rounds with this workload, if not all.
    rounds: Option<u64>,
}

/// A function of the number of a client and a count that is unique among all calls.
type Operation = Arc<dyn Fn(usize, u64) -> OperationFuture + Send + Sync>;

type Before = Box<dyn Fn() -> OperationFuture>;

type OperationFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The measurements of a workload.
pub struct Measured {
    name: String,
    /// The median and the 99th percentile of each round, in seconds.
    medians: Vec<f64>,
    tails: Vec<f64>,
    /// The operations per second of each round.
    rates: Vec<f64>,
}

/// Rounds in which all workloads run one after the other, so that a slow phase of the machine
/// affects all of them.
#[derive(Clone, Copy)]
pub struct Rounds {
    pub rounds: u64,
    pub time: Duration,
}

impl Workload {
    pub fn new<F>(
        name: impl Into<String>,
        clients: usize,
        operation: impl Fn(usize, u64) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let operation: Operation =
            Arc::new(move |client, count| Box::pin(operation(client, count)));
        Self { name: name.into(), clients, operation, before: None, rounds: None }
    }

    /// Sets a preparation that runs before each measurement.
    pub fn before<F>(self, before: impl Fn() -> F + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self { before: Some(Box::new(move || Box::pin(before()))), ..self }
    }

    /// Limits the workload to the first `rounds` rounds, because a measurement of it takes long.
    pub fn in_rounds(self, rounds: u64) -> Self {
        Self { rounds: Some(rounds), ..self }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    fn runs_in(&self, round: u64) -> bool {
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
    /// Returns rounds with shorter measurements, for comparisons of many workloads.
    pub fn shorter(self, by: u32) -> Self {
        Self { time: self.time / by, ..self }
    }

    /// Measures all workloads in each round. Prints and returns the results. The first round is a
    /// warm-up.
    pub async fn run(&self, workloads: &[Workload]) -> Vec<Measured> {
        let mut results: Vec<_> = workloads.iter().map(|one| Measured::new(&one.name)).collect();
        for round in 0..=self.rounds {
            for (index, (workload, result)) in workloads.iter().zip(&mut results).enumerate() {
                if !workload.runs_in(round) {
                    continue;
                }
                self.show_progress(round, &workload.name);
                if let Some(before) = &workload.before {
                    before().await;
                }
                let number = round * workloads.len() as u64 + index as u64;
                let (times, elapsed) = self.measure(workload, number).await;
                if round > 0 {
                    result.record(times, elapsed);
                }
            }
        }
        clear_progress();
        results.iter().for_each(Measured::print);
        results
    }

    /// Shows the progress of the rounds.
    pub fn show_progress(&self, round: u64, name: &str) {
        let all = self.rounds;
        match round {
            0 => show_progress(&format!("warming up: {name}")),
            round => show_progress(&format!("round {round} of {all}: {name}")),
        }
    }

    /// Runs a workload for the time of a round. `number` is unique among the measurements of a
    /// workload. Returns the duration of each operation and the total.
    pub async fn measure(&self, workload: &Workload, number: u64) -> (Vec<Duration>, Duration) {
        let started = Instant::now();
        let until = started + self.time;
        // The clients are spawned tasks, like the handlers of a service.
        let clients: Vec<_> = (0..workload.clients)
            .map(|client| {
                let operation = workload.operation.clone();
                tokio::spawn(async move {
                    let mut times = Vec::new();
                    let mut count = number << 40 | (client as u64) << 28;
                    while Instant::now() < until || times.is_empty() {
                        let begun = Instant::now();
                        operation(client, count).await;
                        times.push(begun.elapsed());
                        count += 1;
                    }
                    times
                })
            })
            .collect();
        let mut times = Vec::new();
        for client in clients {
            times.extend(client.await.expect("a client"));
        }
        (times, started.elapsed())
    }
}

impl Measured {
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), medians: Vec::new(), tails: Vec::new(), rates: Vec::new() }
    }

    /// Records a round.
    pub fn record(&mut self, mut times: Vec<Duration>, elapsed: Duration) {
        times.sort_unstable();
        self.medians.push(times[times.len() / 2].as_secs_f64());
        self.tails.push(times[times.len() * 99 / 100].as_secs_f64());
        self.rates.push(times.len() as f64 / elapsed.as_secs_f64());
    }

    /// Records a round of which only the rate is known.
    pub fn record_rate(&mut self, rate: f64) {
        self.rates.push(rate);
    }

    /// Returns the median over the rounds of their medians, in seconds.
    pub fn median(&self) -> f64 {
        median(self.medians.iter().copied())
    }

    /// Returns the medians of the rounds, in seconds.
    pub fn medians(&self) -> &[f64] {
        &self.medians
    }

    /// Returns the ratio of the medians to those of another workload.
    pub fn median_to(&self, other: &Self) -> f64 {
        ratio(&self.medians, &other.medians)
    }

    /// Returns the ratio of the 99th percentiles to the medians.
    pub fn tail_to_median(&self) -> f64 {
        ratio(&self.tails, &self.medians)
    }

    /// Returns the ratio of the rates to those of another workload.
    pub fn rate_to(&self, other: &Self) -> f64 {
        ratio(&self.rates, &other.rates)
    }

    pub fn print(&self) {
        let (name, rate, rounds) = (&self.name, median(self.rates.clone()), self.rates.len());
        let times = match self.medians.is_empty() {
            true => String::new(),
            false => format!(
                "p50 {:>10.1?}  p99 {:>10.1?}",
                Duration::from_secs_f64(self.median()),
                Duration::from_secs_f64(median(self.tails.clone()))
            ),
        };
        print_stdout(&format_args!(
            "  {name:<34} {times:<36} {rate:>9.1}/s   (medians of {rounds} rounds)"
        ));
    }
}

/// Returns the median of the ratios of each round, so that a slow round affects both sides.
pub fn ratio(these: &[f64], those: &[f64]) -> f64 {
    median(these.iter().zip(those).map(|(this, that)| this / that))
}

/// Returns the number in an environment variable, or a default if it is unset or empty.
pub fn number(name: &str, default: u64) -> u64 {
    variable(name).map_or(default, |value| match value.parse() {
        Ok(number) => number,
        Err(_) => panic!("{name} is {value:?} and must be a number"),
    })
}

/// Returns an environment variable. An empty variable counts as unset.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Shows a line of progress on standard error, which replaces the previous one.
pub fn show_progress(what: &str) {
    // Errors are ignored, for example if standard error is closed.
    let mut output = std::io::stderr();
    let _ = write!(output, "\r{what:<78}\r").and_then(|()| output.flush());
}

/// Clears the line of progress.
pub fn clear_progress() {
    show_progress("");
}

/// Returns the median of the values.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

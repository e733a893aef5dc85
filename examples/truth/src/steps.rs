//! The steps of a run, for one number of clients.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::calls::{Calls, Ended};
use crate::comparison::{Comparisons, seconds};
use crate::disturbance::disturb;
use crate::exchange::MeasuredExchange;
use crate::exporter::Exporter;
use crate::five_counts::Counted;
use crate::mix::MixClient;
use crate::operations::{
    compare_calls, compare_counts, compare_handlers, compare_phases, compare_quantiles,
};
use crate::repeated::{RepeatedCall, RepeatedOperation, run_clients, run_engine, run_loop};
use crate::rounds::{Round, rounds_in};
use crate::scrape::Histogram;
use crate::stores::{Stores, names};
use crate::testbed::Testbed;
use crate::{Failure, generator};

/// What the steps of one number of clients need.
#[derive(Debug)]
pub struct Steps<'a> {
    /// The servers.
    pub testbed: &'a Testbed,
    /// The stores.
    pub stores: &'a Stores,
    /// The metrics.
    pub exporter: &'a Exporter,
    /// The number of clients.
    pub clients: u32,
    /// The length of a step.
    pub length: Duration,
}

/// The number of steps for each number of clients.
pub const STEPS: u64 = 6;

impl Steps<'_> {
    /// Makes every kind of call while servers are disturbed. Returns the calls.
    ///
    /// # Errors
    ///
    /// [`Failure`] if a server cannot be disturbed.
    pub async fn mix(&self, rows: &mut Comparisons) -> Result<Ended, Failure> {
        let (before, calls) = (self.exporter.scrape()?, Calls::default());
        let end = tokio::time::Instant::now() + self.length;
        let clients = run_clients(self.clients, |number| {
            let client = MixClient::new(self.stores, &calls, number);
            async move {
                let client = client.map_err(Failure::store("make a client"))?;
                client.run(end).await.map_err(Failure::store("make a call"))
            }
        });
        tokio::try_join!(clients, disturb(self.testbed, self.length))?;
        let scrape = self.exporter.scrape()?.since(&before);
        let ended = calls.take();

        rows.begin(format!("{}: operations, by the caller's clock and count", self.title()));
        compare_calls(rows, self.clients, &ended, &scrape);
        rows.begin(format!("{}: counters, by the caller's count", self.title()));
        compare_counts(rows, &ended, &scrape);
        rows.begin(format!("{}: phases, by the duration of the operation", self.title()));
        compare_phases(rows, &scrape);
        rows.begin(format!("{}: quantiles, by the caller's clock", self.title()));
        compare_quantiles(rows, &ended, &scrape);
        Ok(ended)
    }

    /// Compares requests with what the server measured.
    ///
    /// # Errors
    ///
    /// [`Failure`] if a call fails.
    pub async fn exchange(
        &self,
        operation: RepeatedOperation,
        rows: &mut Comparisons,
    ) -> Result<(), Failure> {
        let how = (self.clients, self.length);
        let measured =
            MeasuredExchange::measure(self.testbed, self.stores, self.exporter, operation, how);
        measured.await?.compare(rows);
        Ok(())
    }

    /// Compares the durations of one call in a closed loop with those under the load generator.
    ///
    /// # Errors
    ///
    /// [`Failure`] if a call fails.
    pub async fn two_ways(
        &self,
        operation: RepeatedOperation,
        rows: &mut Comparisons,
    ) -> Result<(), Failure> {
        let call = RepeatedCall::new(&self.stores.repeated, operation);
        run_loop(&call, self.clients, WARM_UP).await?;
        // Its histograms take longer to make than many calls.
        let tally = Arc::default();
        let (mut of_loop, mut of_engine) = (Way::default(), Way::default());
        // In turn, so that what else the machine does meets both.
        let rounds = rounds_in(self.length, ROUNDS);
        for round in 0..rounds {
            for is_first in [true, false] {
                let (before, worked) = (self.exporter.scrape_of(names::REPEATED)?, cpu_time());
                let length = self.length / (2 * rounds);
                let is_loop = is_first == (round % 2 == 0);
                match is_loop {
                    true => run_loop(&call, self.clients, length).await?,
                    false => run_engine(&call, self.clients, length, &tally).await?,
                }
                let worked = cpu_time().saturating_sub(worked);
                let scrape = self.exporter.scrape_of(names::REPEATED)?.since(&before);
                let labels = [("store", names::REPEATED), ("operation", operation.name())];
                let durations = scrape.histogram("eventstore_operation_duration_seconds", &labels);
                if is_loop { &mut of_loop } else { &mut of_engine }.add(&durations, worked);
            }
        }
        let name = format!("{} clients, {}: mean", self.clients, operation.name());
        let rounds = of_loop.means.iter().zip(&of_engine.means);
        let rounds: Vec<_> = rounds.map(|(one, other)| Round::new(*one, *other)).collect();
        rows.close_rounds(&name, &rounds, BOUND);
        rows.note(format!("{name}: {of_loop} in the loop; {of_engine} under the load generator"));
        Ok(())
    }

    /// Runs the load generator.
    ///
    /// # Errors
    ///
    /// [`Failure`] if the load cannot run.
    pub async fn generator(
        &self,
        rows: &mut Comparisons,
        counted: &mut Counted,
    ) -> Result<(), Failure> {
        let before = self.exporter.scrape()?;
        let how = (self.clients, self.length);
        let tally = generator::run(self.testbed, self.stores, how, counted).await?;
        rows.begin(format!("{}: handlers, by the load generator's clock", self.title()));
        let scrape = self.exporter.scrape()?.since(&before);
        compare_handlers(rows, self.clients, &tally, &scrape);
        Ok(())
    }

    fn title(&self) -> String {
        match self.clients {
            1 => "1 client".to_owned(),
            clients => format!("{clients} clients"),
        }
    }
}

/// One way to repeat a call.
#[derive(Debug, Default)]
struct Way {
    /// The mean duration in each round, in seconds.
    means: Vec<f64>,
    calls: u64,
    /// The CPU time of this process.
    worked: Duration,
}

impl Way {
    fn add(&mut self, durations: &Histogram, worked: Duration) {
        self.means.push(durations.mean());
        self.calls += durations.count;
        self.worked += worked;
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let least = self.means.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.means.iter().copied().fold(0.0, f64::max);
        let (least, most) = (seconds(least), seconds(most));
        let worked = seconds(self.worked.as_secs_f64() / self.calls as f64);
        write!(f, "rounds from {least} to {most} and {worked} of CPU time for each call")
    }
}

/// Returns the CPU time of this process, or zero if the system does not tell it.
fn cpu_time() -> Duration {
    load::machine::cpu_time().unwrap_or_default()
}

/// The greatest number of rounds.
const ROUNDS: u32 = 20;
const WARM_UP: Duration = Duration::from_millis(300);
/// How much the means may differ, in per cent.
const BOUND: f64 = 10.0;

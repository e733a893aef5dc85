//! The steps of a run, for one number of clients.

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
        compare_calls(rows, &ended, &scrape);
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
        let (mut of_loop, mut of_engine) = (Vec::new(), Vec::new());
        let (mut served, mut whole) = (0.0, 0.0);
        run_loop(&call, self.clients, WARM_UP).await?;
        // In turn, so that what else the machine does meets both.
        for round in 0..ROUNDS {
            for is_first in [true, false] {
                let before = self.exporter.scrape()?;
                let length = self.length / (2 * ROUNDS);
                let is_loop = is_first == (round % 2 == 0);
                match is_loop {
                    true => run_loop(&call, self.clients, length).await?,
                    false => run_engine(&call, self.clients, length).await?,
                }
                let scrape = self.exporter.scrape()?.since(&before);
                let labels = [("store", names::REPEATED), ("operation", operation.name())];
                let durations = scrape.histogram("eventstore_operation_duration_seconds", &labels);
                if is_loop { &mut of_loop } else { &mut of_engine }.push(durations.mean());
                let execute = [labels[0], labels[1], ("phase", "execute")];
                let execute = scrape.histogram("eventstore_phase_duration_seconds", &execute);
                served += execute.sum;
                whole += durations.sum;
            }
        }
        let name = format!("{} clients, {}: mean", self.clients, operation.name());
        rows.close(name, median(&mut of_loop), median(&mut of_engine), BOUND);
        let all = |means: &[f64]| means.iter().map(|mean| seconds(*mean)).collect::<Vec<_>>();
        rows.note(format!(
            "{} clients, {}: rounds of the loop {}; of the load generator {}; {:.0} % of the time in \
             the phase execute",
            self.clients,
            operation.name(),
            all(&of_loop).join(", "),
            all(&of_engine).join(", "),
            served / whole * 100.0
        ));
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
        compare_handlers(rows, &tally, &self.exporter.scrape()?.since(&before));
        Ok(())
    }

    fn title(&self) -> String {
        match self.clients {
            1 => "1 client".to_owned(),
            clients => format!("{clients} clients"),
        }
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
    f64::midpoint(values[low], values[high])
}

const ROUNDS: u32 = 4;
const WARM_UP: Duration = Duration::from_millis(300);
/// How much the means may differ, in per cent.
const BOUND: f64 = 10.0;

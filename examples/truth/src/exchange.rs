//! Requests to a server, measured by the server and by the program.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::calls::Calls;
use crate::comparison::seconds;
use crate::exporter::Exporter;
use crate::probe::{self, Probe};
use crate::repeated::{RepeatedCall, RepeatedOperation, run_clients};
use crate::rounds::{Round, median, rounds_in};
use crate::scrape::Histogram;
use crate::server_times::ServerTimes;
use crate::statements::{StatementKind, Statements, Times};
use crate::stores::{Stores, names};
use crate::testbed::{Log, Testbed};
use crate::{Comparisons, Failure};

/// A repeated call, as it was measured in several ways.
#[derive(Clone, Debug)]
pub struct MeasuredExchange {
    operation: RepeatedOperation,
    clients: u32,
    rounds: Vec<MeasuredRound>,
    /// What `pg_stat_statements` has of queries: the planning and the run of their plans.
    plan: Times,
    /// The calls of the program.
    calls: u64,
}

/// What was measured in a part of the time.
#[derive(Clone, Debug)]
struct MeasuredRound {
    /// The mean time of the way to the server and back, in seconds.
    round_trip: f64,
    /// What the server wrote to its log.
    server: Times,
    /// What the store exported of its requests.
    exchanges: Histogram,
    /// What the store exported of the phase `execute` of its operations.
    execute: Histogram,
}

impl MeasuredExchange {
    /// Lets clients make the call and a probe in turn, so that both find the same load.
    ///
    /// # Errors
    ///
    /// [`Failure`] if a call fails.
    pub async fn measure(
        testbed: &Testbed,
        stores: &Stores,
        exporter: &Exporter,
        operation: RepeatedOperation,
        (clients, length): (u32, Duration),
    ) -> Result<Self, Failure> {
        let call = RepeatedCall::new(&stores.repeated, operation);
        // A store has one request with appends at a time.
        let at_once = if operation == RepeatedOperation::Query { clients } else { 1 };
        let mut probes = Vec::new();
        for _ in 0..at_once {
            probes.push(Arc::new(Probe::open(testbed, operation).await?));
        }
        let mut times = ServerTimes::begin(testbed.primary()).await?;
        // First calls prepare their statements.
        let warm_up = (clients, length.min(WARM_UP));
        alternate(&call, &probes, &Calls::default(), warm_up).await?;
        probes.iter().for_each(|probe| drop(probe.take()));
        times.take()?;
        let client = testbed.sql(testbed.primary()).await?;
        let statements = Statements::of(&client, Log::Repeated).await?;
        let (calls, mut rounds) = (Calls::default(), Vec::new());
        let number = rounds_in(length, ROUNDS);
        for _ in 0..number {
            let before = exporter.scrape_of(names::REPEATED)?;
            alternate(&call, &probes, &calls, (clients, length / number)).await?;
            let scrape = exporter.scrape_of(names::REPEATED)?.since(&before);
            let probed: Vec<_> = probes.iter().flat_map(|probe| probe.take()).collect();
            let written = times.take()?;
            let of_store = [("store", names::REPEATED)];
            let of_phase = [of_store[0], ("operation", operation.name()), ("phase", "execute")];
            rounds.push(MeasuredRound {
                round_trip: mean(&probed) - written.of(probe::beginning(operation)).mean(),
                server: written.of(statement(operation)),
                exchanges: scrape.histogram("db_client_operation_duration_seconds", &of_store),
                execute: scrape.histogram("eventstore_phase_duration_seconds", &of_phase),
            });
        }
        times.end().await?;
        let statements = Statements::of(&client, Log::Repeated).await?.since(&statements);
        Ok(Self {
            operation,
            clients,
            rounds,
            plan: statements.of_kind(StatementKind::Few),
            calls: calls.take().durations.values().map(|times| times.len() as u64).sum(),
        })
    }

    /// Compares the measurements.
    pub fn compare(&self, rows: &mut Comparisons) {
        let Self { operation, clients, rounds, .. } = self;
        let name = format!("{clients} clients, {}", operation.name());
        let sum = |count: fn(&MeasuredRound) -> u64| rounds.iter().map(count).sum::<u64>();
        let exchanges = sum(|round| round.exchanges.count);
        let statements = sum(|round| round.server.calls);
        rows.equal(format!("{name}: requests, statements of the server"), statements, exchanges);
        if *operation == RepeatedOperation::Query {
            let what = format!("{name}: requests, pg_stat_statements");
            rows.equal(what, self.plan.calls, exchanges);
        }
        let executed = sum(|round| round.execute.count);
        rows.equal(format!("{name}: operations, calls"), self.calls, executed);
        let requests: Vec<_> =
            rounds.iter().map(|round| self.round(round, &round.exchanges)).collect();
        rows.close_rounds(format!("{name}: mean request"), &requests, BOUND);
        let phases: Vec<_> = rounds.iter().map(|round| self.round(round, &round.execute)).collect();
        rows.close_rounds(format!("{name}: mean phase execute"), &phases, BOUND);
        let of = |time: fn(&MeasuredRound) -> f64| seconds(median(rounds.iter().map(time)).0);
        let (worked, way) = (of(|round| round.server.mean()), of(|round| round.round_trip));
        let plan = match operation {
            RepeatedOperation::Query => {
                format!("; the run of the plan {}", seconds(self.plan.mean()))
            }
            RepeatedOperation::Append => String::new(),
        };
        rows.note(format!("{name}: the server worked {worked}, a round trip took {way}{plan}"));
    }

    fn round(&self, round: &MeasuredRound, exported: &Histogram) -> Round {
        let (server, expected) = (round.server.mean(), round.server.mean() + round.round_trip);
        // Of several clients' appends, a batch may wait on the server while it works on the batch
        // before. Then the request begins when the server begins with it, and has no way to go.
        let is_pipelined = self.operation == RepeatedOperation::Append && self.clients > 1;
        let least = if is_pipelined { server.min(expected) } else { expected };
        Round { independent: (least, expected), exported: exported.mean() }
    }
}

/// Returns a part of the text of the statement with which a store does an operation.
fn statement(operation: RepeatedOperation) -> &'static str {
    match operation {
        RepeatedOperation::Query => "WITH candidate AS",
        RepeatedOperation::Append => "\"repeated_append\"(",
    }
}

fn mean(times: &[f64]) -> f64 {
    times.iter().sum::<f64>() / times.len() as f64
}

/// Lets as many clients as there are probes make a probe and the call in turn, and the other ones
/// the call only.
async fn alternate(
    call: &RepeatedCall,
    probes: &[Arc<Probe>],
    calls: &Calls,
    (clients, length): (u32, Duration),
) -> Result<(), Failure> {
    let end = Instant::now() + length;
    run_clients(clients, |client| {
        let (call, calls) = (call.clone(), calls.clone());
        let probe = probes.get(client as usize).cloned();
        async move {
            for number in client.. {
                if Instant::now() >= end {
                    break;
                }
                // Half of the clients begin with the call, so that probes do not meet only probes.
                let is_probed_first = client % 2 == 0;
                for is_probe in [is_probed_first, !is_probed_first] {
                    if !is_probe {
                        let called = calls.observe(names::REPEATED, "", call.call(number)).await;
                        called.map_err(Failure::store("repeat a call"))?;
                    } else if let Some(probe) = &probe {
                        probe.execute(number).await?;
                    }
                }
            }
            Ok(())
        }
    })
    .await
}

const WARM_UP: Duration = Duration::from_millis(700);
/// The greatest number of rounds.
const ROUNDS: u32 = 10;
/// How much the measurements may differ, in per cent.
const BOUND: f64 = 10.0;

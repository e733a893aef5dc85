//! Requests to a server, measured by the server and by the program.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::{Client, Statement};

use crate::calls::Calls;
use crate::exporter::Exporter;
use crate::repeated::{RepeatedCall, RepeatedOperation, run_clients};
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
    /// The mean time of an empty statement, in seconds.
    round_trip: f64,
    /// What the server wrote to its log.
    server: Times,
    /// What `pg_stat_statements` has of queries: the planning and the run of their plans.
    plan: Times,
    /// What the store exported of its requests.
    exchanges: Histogram,
    /// What the store exported of the phase `execute` of its operations.
    execute: Histogram,
    /// The calls of the program.
    calls: u64,
}

impl MeasuredExchange {
    /// Lets each client make the call and an empty round trip in turn, so that both find the same
    /// load.
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
        let mut probes = Vec::new();
        for _ in 0..clients {
            probes.push(Arc::new(Probe::open(testbed).await?));
        }
        let mut times = ServerTimes::begin(testbed.primary()).await?;
        // First calls prepare their statements.
        alternate(&call, &probes, &Calls::default(), length.min(WARM_UP)).await?;
        probes.iter().for_each(|probe| drop(probe.take()));
        times.skip()?;
        let client = testbed.sql(testbed.primary()).await?;
        let statements = Statements::of(&client, Log::Repeated).await?;
        let (before, calls) = (exporter.scrape()?, Calls::default());
        alternate(&call, &probes, &calls, length).await?;
        let scrape = exporter.scrape()?.since(&before);
        let statements = Statements::of(&client, Log::Repeated).await?.since(&statements);

        let round_trips: Vec<_> = probes.iter().flat_map(|probe| probe.take()).collect();
        let server = times.end(operation, Log::Repeated).await?;
        let of_store = [("store", names::REPEATED)];
        let of_phase = [of_store[0], ("operation", operation.name()), ("phase", "execute")];
        Ok(Self {
            operation,
            clients,
            round_trip: round_trips.iter().sum::<f64>() / round_trips.len() as f64,
            server,
            plan: statements.of_kind(StatementKind::Few),
            exchanges: scrape.histogram("db_client_operation_duration_seconds", &of_store),
            execute: scrape.histogram("eventstore_phase_duration_seconds", &of_phase),
            calls: calls.take().durations.values().map(|times| times.len() as u64).sum(),
        })
    }

    /// Compares the measurements.
    pub fn compare(&self, rows: &mut Comparisons) {
        let Self { operation, clients, .. } = self;
        let name = format!("{clients} clients, {}", operation.name());
        let expected = self.server.mean() + self.round_trip;
        rows.equal(
            format!("{name}: requests, statements of the server"),
            self.server.calls,
            self.exchanges.count,
        );
        if *operation == RepeatedOperation::Query {
            rows.equal(
                format!("{name}: requests, pg_stat_statements"),
                self.plan.calls,
                self.exchanges.count,
            );
            let plan = crate::comparison::seconds(self.plan.mean());
            rows.note(format!("{name}: by pg_stat_statements, the plan took {plan}"));
        }
        rows.equal(format!("{name}: operations, calls"), self.calls, self.execute.count);
        rows.close(format!("{name}: mean request"), expected, self.exchanges.mean(), BOUND);
        rows.close(format!("{name}: mean phase execute"), expected, self.execute.mean(), BOUND);
        rows.note(format!(
            "{name}: the server worked {}, an empty round trip took {}",
            crate::comparison::seconds(self.server.mean()),
            crate::comparison::seconds(self.round_trip)
        ));
    }
}

/// A connection on which empty statements are timed.
struct Probe {
    client: Client,
    statement: Statement,
    times: Mutex<Vec<f64>>,
}

impl Probe {
    async fn open(testbed: &Testbed) -> Result<Self, Failure> {
        let client = testbed.sql(testbed.primary()).await?;
        let prepared = client.prepare("").await;
        let statement = prepared.map_err(Failure::sql("prepare an empty statement"))?;
        Ok(Self { client, statement, times: Mutex::default() })
    }

    async fn round_trip(&self) -> Result<(), Failure> {
        let started = Instant::now();
        let answered = self.client.query(&self.statement, &[]).await;
        answered.map_err(Failure::sql("send an empty statement"))?;
        let time = started.elapsed().as_secs_f64();
        self.times.lock().unwrap_or_else(PoisonError::into_inner).push(time);
        Ok(())
    }

    /// Returns the times since the last call of this method.
    fn take(&self) -> Vec<f64> {
        std::mem::take(&mut *self.times.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Lets each client make a round trip and the call in turn.
async fn alternate(
    call: &RepeatedCall,
    probes: &[Arc<Probe>],
    calls: &Calls,
    length: Duration,
) -> Result<(), Failure> {
    let end = Instant::now() + length;
    run_clients(probes.len() as u32, |client| {
        let (call, calls, probe) = (call.clone(), calls.clone(), probes[client as usize].clone());
        async move {
            for number in client.. {
                if Instant::now() >= end {
                    break;
                }
                probe.round_trip().await?;
                let called = calls.observe(names::REPEATED, "", call.call(number)).await;
                called.map_err(Failure::store("repeat a call"))?;
            }
            Ok(())
        }
    })
    .await
}

const WARM_UP: Duration = Duration::from_millis(700);
/// How much the measurements may differ, in per cent.
const BOUND: f64 = 10.0;

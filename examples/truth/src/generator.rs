//! The load generator, whose operations are counted in five ways.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use console::Stop;
use eddyline::{ReadOnly, ReadWrite, SequenceNumber, Store};
use library::commands::CommandHandler;
use library::queries::QueryHandler;
use load::city::{City, CityBuilder, Skew};
use load::engine::Engine;
use load::import::{CitySize, fill};
use load::journey::Journey;
use load::plan::{MixOptions, Visits};
use load::replies::{Recorded, Replies, Reply};
use load::service::Service;
use load::tally::{Snapshot, Tally};

use crate::Failure;
use crate::five_counts::Counted;
use crate::statements::{StatementKind, Statements};
use crate::stores::Stores;
use crate::testbed::{Log, Testbed};

/// Gives the library its books, readers and loans.
///
/// # Errors
///
/// [`Failure::Store`].
pub async fn prepare(testbed: &Testbed) -> Result<(), Failure> {
    let config = testbed.config(Log::Library)?;
    let connected = Store::<ReadWrite>::connect(config).await;
    let store = connected.map_err(Failure::store("connect to the primary"))?;
    let size = CitySize { books: 3_000, readers: 800, loans: 600 };
    let replies = Replies::after(SequenceNumber::ZERO);
    let mut city = CityBuilder::new(SKEW);
    let filled = fill(&mut city, size, SEED, &store, &replies).await;
    filled.map_err(Failure::store("import the library"))?;
    testbed.wait_for_replay().await
}

/// Runs the load generator, and adds what was counted. Returns its tally.
///
/// # Errors
///
/// [`Failure`] if the load cannot run. Errors of operations are counted.
pub async fn run(
    testbed: &Testbed,
    stores: &Stores,
    (clients, length): (u32, Duration),
    counted: &mut Counted,
) -> Result<Snapshot, Failure> {
    let city = read_city(testbed).await?;
    let primary = testbed.sql(testbed.primary()).await?;
    let events_before = stored_events(&primary).await?;
    let reads_before = counted_reads(&primary).await?;
    let tally = Arc::new(Tally::default());
    let replies = Replies::after(SequenceNumber::ZERO);
    let commands = CommandHandler::new(stores.commands.clone());
    let queries = QueryHandler::new(stores.queries.clone());
    let service = Service::library(commands, queries);
    let (shared, pause) = (Arc::clone(&tally), Duration::from_millis(100));
    let journey = Journey::new(city, service, shared, replies.clone(), pause);
    let engine = Engine::new(journey, clients, Arc::clone(&tally), Stop::default());
    let mix = mix().check().map_err(|error| Failure::Malformed(error.to_string()))?;
    engine.closed(Visits::new(mix, READERS, SEED + u64::from(clients)), length).await?;

    let reads = counted_reads(&primary).await?;
    counted.server_reads(reads - reads_before);
    counted.stored(stored_events(&primary).await? - events_before);
    let snapshot = tally.snapshot();
    count_tally(counted, &snapshot);
    count_replies(counted, replies.take());
    Ok(snapshot)
}

/// Reads the city from the log, without a store that is measured.
async fn read_city(testbed: &Testbed) -> Result<City, Failure> {
    testbed.wait_for_replay().await?;
    let config = testbed.config(Log::Library)?;
    let connected = Store::<ReadOnly>::connect(config).await;
    let store = connected.map_err(Failure::store("connect to the primary"))?;
    let head = store.head().await.map_err(Failure::store("read the head"))?;
    let city = CityBuilder::new(SKEW).read(&store).await;
    Ok(city.map_err(Failure::store("read the library"))?.build(head))
}

/// Returns the reads of the library's log that the primary has counted.
async fn counted_reads(primary: &tokio_postgres::Client) -> Result<u64, Failure> {
    let statements = Statements::of(primary, Log::Library).await?;
    let kinds = [StatementKind::Few, StatementKind::Many];
    Ok(kinds.map(|kind| statements.of_kind(kind).calls).iter().sum())
}

async fn stored_events(client: &tokio_postgres::Client) -> Result<u64, Failure> {
    let text = format!("SELECT count(*) FROM {}", Log::Library.name());
    let row = client.query_one(&text, &[]).await.map_err(Failure::sql("count the events"))?;
    Ok(row.get::<_, i64>(0).unsigned_abs())
}

fn count_tally(counted: &mut Counted, snapshot: &Snapshot) {
    for (name, figures) in &snapshot.operations {
        let outcomes = figures.outcomes;
        let all = [
            ("success", outcomes.success),
            ("idempotent", outcomes.idempotent),
            ("rejected", outcomes.rejected),
            ("conflict", outcomes.conflict),
            ("error", outcomes.error),
        ];
        for (outcome, number) in all.into_iter().filter(|(_, number)| *number > 0) {
            counted.tallied(name, outcome, number);
        }
    }
    let (commands, queries) = (snapshot.commands.service.count, snapshot.queries.service.count);
    counted.tallied_reads(commands + snapshot.lost_rounds + snapshot.retries, queries);
    counted.tallied_lost_rounds(snapshot.lost_rounds);
}

fn count_replies(counted: &mut Counted, mut recorded: Recorded) {
    for acknowledged in &recorded.acknowledged {
        let outcome = match acknowledged.reply {
            Reply::Rejected(_) => "rejected",
            Reply::Success => "success",
        };
        counted.returned(acknowledged.command.as_str(), outcome, 1);
    }
    for idempotent in &recorded.idempotent {
        counted.returned(idempotent.command.as_str(), "idempotent", 1);
    }
    let mut queries: BTreeMap<String, u64> = BTreeMap::new();
    for answer in recorded.answers.take() {
        let question = answer.question.to_string();
        let name = question.split('(').next().unwrap_or_default();
        *queries.entry(name.to_owned()).or_insert(0) += 1;
    }
    queries.iter().for_each(|(name, number)| counted.returned(name, "success", *number));
}

/// More mistakes and contended loans than usual, so that each outcome occurs.
fn mix() -> MixOptions {
    MixOptions {
        groups: vec![70.0, 25.0, 5.0],
        queries: 30.0,
        lists: 2.0,
        idempotent: 8.0,
        rejected: 10.0,
        lost_rounds: 5.0,
    }
}

const SKEW: Skew = Skew { copies: 0.7, readers: 0.5 };
const SEED: u64 = 1;
const READERS: u32 = 800;

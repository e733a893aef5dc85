//! Decisions in the single-store log: one store appends, and at most one other write is committed
//! between its read and its append.
//!
//! A store that is the only writer validates conditions against the events that it has seen,
//! without asking the server. In a busy log other writers commit before almost every append, so
//! errors of this validation would rarely show. Here the actor makes every event of a log of its
//! own, so it knows how each append must end.

mod decision;

use eddyline::{Config, ReadWrite, Schema, Store};
use rand::RngExt;
use rand::rngs::SmallRng;
use tokio_postgres::Client;

use self::decision::{Case, Decision};
use super::{ConsecutiveErrors, Race};
use crate::boundary::Boundary;
use crate::failure::Failure;
use crate::protocol::{ProtocolName, config};
use crate::servers::Addresses;
use crate::sql::{self, Table};

/// The single-store log, with its stores and connections.
pub struct SingleStore {
    config: Config,
    table: Table,
    /// The store under test.
    store: Store<ReadWrite>,
    other_store: Store<ReadWrite>,
    client: Client,
    /// The events of the current boundary.
    events: Vec<Stored>,
}

/// An event of the log.
struct Stored {
    position: u64,
    event_type: String,
    payload: serde_json::Value,
}

/// Creates the log, and connects.
pub async fn connect(addresses: &Addresses) -> Result<SingleStore, Failure> {
    let failed = Failure::store("prepare the single-store log");
    let table = Table { schema: ProtocolName::Eddyline.table().schema, name: "single_store" };
    let config = config(&addresses.primary, table)?;
    Schema::new(&config).migrate().await.map_err(&failed)?;
    Ok(SingleStore {
        store: Store::<ReadWrite>::connect(config.clone()).await.map_err(&failed)?,
        other_store: Store::<ReadWrite>::connect(config.clone()).await.map_err(&failed)?,
        client: sql::connect(&addresses.primary).await?,
        config,
        table,
        events: Vec::new(),
    })
}

impl SingleStore {
    /// Decides with random cases, one after the other.
    pub async fn run(mut self, race: &Race, mut random: SmallRng) -> Result<(), Failure> {
        race.wait_for_start().await;
        let mut errors = ConsecutiveErrors::default();
        for generation in 0.. {
            if !race.is_on() {
                break;
            }
            // No filter of one boundary matches an event of another.
            self.events.clear();
            let boundary = Boundary::private(WRITER, generation);
            for _ in 0..DECISIONS {
                let case = Case::any(&mut random);
                let decision = Decision { race, boundary: &boundary, case };
                if let Err(error) = decision.run(&mut self, &mut random).await {
                    // The outcome is unknown, so the known events of this boundary may be
                    // incomplete.
                    errors.add(race, Vec::new(), error).await?;
                    break;
                }
                errors.reset();
                if random.random_ratio(1, 10) {
                    tokio::task::yield_now().await;
                }
            }
        }
        Ok(())
    }
}

/// The number of decisions on one boundary.
const DECISIONS: usize = 12;

/// A writer number that no other writer has.
const WRITER: usize = usize::MAX;

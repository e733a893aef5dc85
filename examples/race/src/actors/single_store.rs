//! Decisions in a single_store log: one store appends, and at most one stranger comes between a read and its
//! append.
//!
//! A store that is alone judges appends by what it knows of the log's end. In a busy log a stranger
//! comes before every other append, so that a fault of that judgement is hardly met. Here the actor
//! makes every event of a log of its own, so it knows how each append must end.

mod round;

use eddyline::{Config, ReadWrite, Schema, Store};
use rand::RngExt;
use rand::rngs::SmallRng;
use tokio_postgres::Client;

use self::round::{Case, Round};
use super::{Race, Trouble};
use crate::boundary::Boundary;
use crate::failure::Failure;
use crate::protocol::{ProtocolName, config};
use crate::servers::Addresses;
use crate::sql::{self, Table};

/// A single_store log, and the ways to it.
pub struct Calm {
    config: Config,
    table: Table,
    /// The store under test.
    store: Store<ReadWrite>,
    stranger: Store<ReadWrite>,
    client: Client,
    /// The events of the present boundary.
    events: Vec<Stored>,
}

/// An event of the log.
struct Stored {
    number: u64,
    event_type: String,
    payload: serde_json::Value,
}

/// Makes the log, and connects.
pub async fn connect(addresses: &Addresses) -> Result<Calm, Failure> {
    let failed = Failure::store("prepare a single_store log");
    let table = Table { schema: ProtocolName::Eddyline.table().schema, name: "single_store" };
    let config = config(&addresses.primary, table)?;
    Schema::new(&config).migrate().await.map_err(&failed)?;
    Ok(Calm {
        store: Store::<ReadWrite>::connect(config.clone()).await.map_err(&failed)?,
        stranger: Store::<ReadWrite>::connect(config.clone()).await.map_err(&failed)?,
        client: sql::connect(&addresses.primary).await?,
        config,
        table,
        events: Vec::new(),
    })
}

impl Calm {
    /// Decides in every combination, one after the other.
    pub async fn run(mut self, race: &Race, mut random: SmallRng) -> Result<(), Failure> {
        race.wait_for_start().await;
        let mut trouble = Trouble::default();
        for age in 0.. {
            if !race.is_on() {
                break;
            }
            // No filter of one boundary matches an event of another.
            self.events.clear();
            let boundary = Boundary::private(CALM, age);
            for _ in 0..ROUNDS {
                let case = Case::any(&mut random);
                let round = Round { race, boundary: &boundary, case };
                if let Err(fault) = round.play(&mut self, &mut random).await {
                    // What became of it is not known.
                    trouble.met(race, Vec::new(), fault).await?;
                    break;
                }
                trouble.is_over();
                if random.random_ratio(1, 10) {
                    tokio::task::yield_now().await;
                }
            }
        }
        Ok(())
    }
}

/// How many decisions are taken on a boundary.
const ROUNDS: usize = 12;

/// A number that no writer has.
const CALM: usize = usize::MAX;

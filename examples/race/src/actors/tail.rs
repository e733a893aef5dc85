//! Readers that follow the log by position and record every position that they see.

use std::time::Duration;

use console::error_chain;
use rand::RngExt;
use rand::rngs::SmallRng;
use tokio::time::Instant;
use tokio_postgres::Client;

use super::{Assignment, ConsecutiveErrors, Phase, Race};
use crate::failure::Failure;
use crate::kind::Kind;
use crate::message::{Message, Server, Tail, TailMethod};
use crate::positions::PositionSet;
use crate::protocol::Page;
use crate::sql::{self, Table};

/// A tailing reader.
pub struct Reader {
    method: TailMethod,
    server: Server,
    /// The connection, if it reads by plain SQL.
    client: Option<Client>,
    table: Table,
}

/// Connects, if the method needs a connection of its own.
pub async fn connect(
    assignment: &Assignment,
    method: TailMethod,
    server: Server,
) -> Result<Reader, Failure> {
    let client = match (method, assignment.addresses.of(server)) {
        (TailMethod::Sql, Some(url)) => Some(sql::connect(url).await?),
        _ => None,
    };
    Ok(Reader { method, server, client, table: assignment.protocol.table() })
}

impl Reader {
    /// Follows the log until all writers have ended and it has read their last event.
    pub async fn run(self, race: &Race, mut random: SmallRng) -> Result<(), Failure> {
        race.wait_for_start().await;
        let mut errors = ConsecutiveErrors::default();
        let mut seen = PositionSet::default();
        let mut position = 0;
        let mut deadline = None;
        loop {
            if let Phase::Finishing { head } = race.phase() {
                let deadline = deadline.get_or_insert_with(|| Instant::now() + LAST_WAIT);
                if position >= head {
                    break;
                }
                if Instant::now() >= *deadline {
                    return Err(self.too_slow());
                }
            }
            match self.read(race, position, &mut random).await {
                Ok(page) => {
                    race.count(Kind::Tail(self.method, self.server));
                    errors.reset();
                    seen.extend(page.positions);
                    position = position.max(page.position);
                }
                Err(error) => errors.add(race, Vec::new(), error).await?,
            }
            // Half of the reads follow without a pause: reads during a commit matter most.
            if random.random() {
                tokio::time::sleep(Duration::from_micros(random.random_range(0..2_000))).await;
            }
        }
        let Self { method, server, .. } = self;
        race.send(Message::Tailed(Tail { method, server, seen, position })).await;
        Ok(())
    }

    fn too_slow(&self) -> Failure {
        Failure::TimedOut {
            what: format!("a reader of the {} by {}", self.server, self.method.name()),
            action: "reach the head of the log",
            seconds: LAST_WAIT.as_secs(),
        }
    }

    async fn read(&self, race: &Race, last: u64, random: &mut SmallRng) -> Result<Page, String> {
        let Some(client) = &self.client else {
            let limit = random.random_ratio(1, 4).then(|| random.random_range(1..20));
            return race.protocol.tail(self.method, self.server, last, limit).await;
        };
        let positions = sql::positions_above(client, self.table, last).await;
        let positions = positions.map_err(|error| error_chain(&error))?;
        let position = positions.last().copied().unwrap_or(last);
        Ok(Page { positions, position })
    }
}

/// The time that a reader has to reach the head after the last append.
const LAST_WAIT: Duration = Duration::from_secs(20);

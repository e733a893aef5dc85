//! Readers who follow the log by position and note every number that they see.

use std::time::Duration;

use console::error_chain;
use rand::RngExt;
use rand::rngs::SmallRng;
use tokio::time::Instant;
use tokio_postgres::Client;

use super::{Assignment, Phase, Race, Trouble};
use crate::fact::{Fact, Server, Tail, Way};
use crate::failure::Failure;
use crate::kind::Kind;
use crate::protocol::Page;
use crate::seen::SeenNumbers;
use crate::sql::{self, Table};

/// A tailing reader.
pub struct Reader {
    way: Way,
    server: Server,
    /// Where it reads by plain SQL.
    client: Option<Client>,
    table: Table,
}

/// Connects as the way demands.
pub async fn connect(assignment: &Assignment, way: Way, server: Server) -> Result<Reader, Failure> {
    let client = match (way, assignment.addresses.of(server)) {
        (Way::Sql, Some(url)) => Some(sql::connect(url).await?),
        _ => None,
    };
    Ok(Reader { way, server, client, table: assignment.protocol.table() })
}

impl Reader {
    /// Follows the log until writers have ended and all that they wrote is read.
    pub async fn run(self, race: &Race, mut random: SmallRng) -> Result<(), Failure> {
        race.wait_for_start().await;
        let mut trouble = Trouble::default();
        let mut seen = SeenNumbers::default();
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
                    race.count(Kind::Tail(self.way, self.server));
                    trouble.is_over();
                    seen.extend(page.numbers);
                    position = position.max(page.position);
                }
                Err(fault) => trouble.met(race, Vec::new(), fault).await?,
            }
            // Often at once: what matters is to read while somebody commits.
            if random.random() {
                tokio::time::sleep(Duration::from_micros(random.random_range(0..2_000))).await;
            }
        }
        let Self { way, server, .. } = self;
        race.tell(Fact::Tailed(Tail { way, server, seen, position })).await;
        Ok(())
    }

    fn too_slow(&self) -> Failure {
        Failure::TimedOut {
            who: format!("a reader of the {} by {}", self.server, self.way.name()),
            action: "reach the end of the log",
            seconds: LAST_WAIT.as_secs(),
        }
    }

    async fn read(&self, race: &Race, last: u64, random: &mut SmallRng) -> Result<Page, String> {
        let Some(client) = &self.client else {
            let limit = random.random_ratio(1, 4).then(|| random.random_range(1..20));
            return race.protocol.tail(self.way, self.server, last, limit).await;
        };
        let numbers = sql::numbers_above(client, self.table, last).await;
        let numbers = numbers.map_err(|error| error_chain(&error))?;
        let position = numbers.last().copied().unwrap_or(last);
        Ok(Page { numbers, position })
    }
}

/// How long a reader may take to read what is left when all has been written.
const LAST_WAIT: Duration = Duration::from_secs(20);

//! Writers who know nothing of the store and insert by plain SQL.

use std::time::Duration;

use console::error_chain;
use rand::RngExt;
use rand::rngs::SmallRng;
use tokio_postgres::{Client, Error};

use super::unconditional::content;
use super::{Race, Trouble};
use crate::event::{NewEvent, ids, new_events};
use crate::fact::{Fact, Form, Isolation};
use crate::failure::Failure;
use crate::kind::Kind;
use crate::servers::Addresses;
use crate::sql::{self, Table};

/// An inserter with a connection of its own.
pub struct Inserter {
    client: Client,
    table: Table,
}

/// Connects.
pub async fn connect(addresses: &Addresses, table: Table) -> Result<Inserter, Failure> {
    Ok(Inserter { client: sql::connect(&addresses.primary).await?, table })
}

/// The events of an insert, and the first and last of the numbers that they got.
type Inserted = (Vec<NewEvent>, (u64, u64));

impl Inserter {
    /// Inserts at every isolation level and to every ending in turn.
    pub async fn run(self, race: &Race, mut random: SmallRng) -> Result<(), Failure> {
        race.wait_for_start().await;
        let mut trouble = Trouble::default();
        let turns = Isolation::ALL
            .into_iter()
            .flat_map(|isolation| Form::ALL.map(|form| (isolation, form)));
        for (isolation, form) in Vec::from_iter(turns).into_iter().cycle() {
            if !race.is_on() {
                break;
            }
            let mut attempt = Attempt { kept: Vec::new(), given_up: Vec::new() };
            match self.insert(race, isolation, form, &mut attempt, &mut random).await {
                Ok(()) => {
                    race.count(Kind::Insert(isolation, form));
                    trouble.is_over();
                    attempt.tell(race).await;
                }
                Err(error) if error.code().is_some() => {
                    let _ = self.client.batch_execute("ROLLBACK").await;
                    trouble.met(race, attempt.ids(), error_chain(&error)).await?;
                }
                Err(error) => return Err(Failure::sql("insert")(error)),
            }
            // A store that hears of nobody for a while counts on being alone, and has to find out.
            let most = if random.random_ratio(1, 6) { 600_000 } else { 40_000 };
            tokio::time::sleep(Duration::from_micros(random.random_range(0..most))).await;
        }
        Ok(())
    }

    async fn insert(
        &self,
        race: &Race,
        isolation: Isolation,
        form: Form,
        attempt: &mut Attempt,
        random: &mut SmallRng,
    ) -> Result<(), Error> {
        let level = isolation.sql();
        if matches!(form, Form::Autocommitted | Form::Copied) {
            let session =
                format!("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL {level}");
            self.client.batch_execute(&session).await?;
            return self.statement(race, form, &mut attempt.kept, random).await;
        }
        self.client.batch_execute(&format!("BEGIN ISOLATION LEVEL {level}")).await?;
        match form {
            Form::RolledBack => {
                self.statements(race, &mut attempt.given_up, random).await?;
                self.client.batch_execute("ROLLBACK").await
            }
            Form::RolledBackToSavepoint => {
                self.client.batch_execute("SAVEPOINT before").await?;
                self.statements(race, &mut attempt.given_up, random).await?;
                self.client.batch_execute("ROLLBACK TO before").await?;
                self.statements(race, &mut attempt.kept, random).await?;
                self.client.batch_execute("COMMIT").await
            }
            Form::Autocommitted | Form::Committed | Form::Copied => {
                self.statements(race, &mut attempt.kept, random).await?;
                self.client.batch_execute("COMMIT").await
            }
        }
    }

    async fn statements(
        &self,
        race: &Race,
        inserted: &mut Vec<Inserted>,
        random: &mut SmallRng,
    ) -> Result<(), Error> {
        for _ in 0..random.random_range(1..3) {
            self.statement(race, Form::Committed, inserted, random).await?;
            // Its numbers are taken now, and nobody can see its events yet.
            if random.random_ratio(1, 3) {
                tokio::time::sleep(Duration::from_micros(random.random_range(0..3_000))).await;
            }
        }
        Ok(())
    }

    async fn statement(
        &self,
        race: &Race,
        form: Form,
        inserted: &mut Vec<Inserted>,
        random: &mut SmallRng,
    ) -> Result<(), Error> {
        let events = random.random_range(1..3);
        let events = new_events((0..events).map(|_| content(race, random)), None);
        inserted.push((events, (0, 0)));
        if let Some((events, ends)) = inserted.last_mut() {
            *ends = match form {
                Form::Copied => sql::copy(&self.client, self.table, events).await?,
                _ => sql::insert(&self.client, self.table, events).await?,
            };
        }
        Ok(())
    }
}

/// What a transaction tried to insert.
struct Attempt {
    kept: Vec<Inserted>,
    given_up: Vec<Inserted>,
}

impl Attempt {
    fn ids(&self) -> Vec<uuid::Uuid> {
        self.kept.iter().chain(&self.given_up).flat_map(|(events, _)| ids(events)).collect()
    }

    async fn tell(&self, race: &Race) {
        for (events, (first, last)) in &self.kept {
            race.tell(Fact::Accepted { ids: ids(events), first: *first, last: *last }).await;
        }
        let refused = self.given_up.iter().flat_map(|(events, _)| ids(events)).collect();
        race.tell(Fact::Refused { ids: refused, fault: None }).await;
    }
}

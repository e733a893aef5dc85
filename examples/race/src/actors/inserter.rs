//! Writers that insert by plain SQL, without the store.

use std::time::Duration;

use console::error_chain;
use rand::RngExt;
use rand::rngs::SmallRng;
use tokio_postgres::{Client, Error};

use super::unconditional::content;
use super::{ConsecutiveErrors, Race};
use crate::event::{NewEvent, ids, new_events};
use crate::failure::Failure;
use crate::kind::Kind;
use crate::message::{Form, Isolation, Message};
use crate::servers::Addresses;
use crate::sql::{self, Table};

/// A writer by plain SQL, with a connection of its own.
pub struct Inserter {
    client: Client,
    table: Table,
}

/// Connects to the primary.
pub async fn connect(addresses: &Addresses, table: Table) -> Result<Inserter, Failure> {
    Ok(Inserter { client: sql::connect(&addresses.primary).await?, table })
}

/// The events of an insert, and the positions of the first and the last one.
type Inserted = (Vec<NewEvent>, (u64, u64));

impl Inserter {
    /// Inserts with every combination of isolation level and form, in rotation.
    pub async fn run(self, race: &Race, mut random: SmallRng) -> Result<(), Failure> {
        race.wait_for_start().await;
        let mut errors = ConsecutiveErrors::default();
        let combinations = Isolation::ALL
            .into_iter()
            .flat_map(|isolation| Form::ALL.map(|form| (isolation, form)));
        for (isolation, form) in Vec::from_iter(combinations).into_iter().cycle() {
            if !race.is_on() {
                break;
            }
            let mut attempt = Attempt { kept: Vec::new(), rolled_back: Vec::new() };
            match self.insert(race, isolation, form, &mut attempt, &mut random).await {
                Ok(()) => {
                    race.count(Kind::Insert(isolation, form));
                    errors.reset();
                    attempt.send(race).await;
                }
                Err(error) if error.code().is_some() => {
                    let _ = self.client.batch_execute("ROLLBACK").await;
                    errors.add(race, attempt.ids(), error_chain(&error)).await?;
                }
                Err(error) => return Err(Failure::sql("insert")(error)),
            }
            // A long pause now and then lets the stores assume that they are the only writers, and
            // then find out that they are not.
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
                self.statements(race, &mut attempt.rolled_back, random).await?;
                self.client.batch_execute("ROLLBACK").await
            }
            Form::RolledBackToSavepoint => {
                self.client.batch_execute("SAVEPOINT before").await?;
                self.statements(race, &mut attempt.rolled_back, random).await?;
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
            // The statement has taken its sequence numbers, and its events are not visible yet.
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
        if let Some((events, range)) = inserted.last_mut() {
            *range = match form {
                Form::Copied => sql::copy(&self.client, self.table, events).await?,
                _ => sql::insert(&self.client, self.table, events).await?,
            };
        }
        Ok(())
    }
}

/// The events of one transaction.
struct Attempt {
    kept: Vec<Inserted>,
    rolled_back: Vec<Inserted>,
}

impl Attempt {
    fn ids(&self) -> Vec<uuid::Uuid> {
        self.kept.iter().chain(&self.rolled_back).flat_map(|(events, _)| ids(events)).collect()
    }

    async fn send(&self, race: &Race) {
        for (events, (first, last)) in &self.kept {
            race.send(Message::Accepted { ids: ids(events), first: *first, last: *last }).await;
        }
        let refused = self.rolled_back.iter().flat_map(|(events, _)| ids(events)).collect();
        race.send(Message::Refused { ids: refused, error: None }).await;
    }
}

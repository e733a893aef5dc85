//! Who appends, and notes what it was told.

use std::sync::Arc;
use std::time::Duration;

use eddyline::{Error, ReadWrite, Store};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use telling::in_one_line;

use crate::draft::{Draft, Form};
use crate::notes::Notes;
use crate::site::Site;
use crate::{Campaign, Failure};

/// A caller of the store.
pub struct Writer {
    pub store: Store<ReadWrite>,
    pub random: SmallRng,
    campaign: Campaign,
    number: usize,
    notes: Arc<Notes>,
    turn: u64,
}

impl Writer {
    pub fn new(site: &Site, campaign: Campaign, number: usize, store: Store<ReadWrite>) -> Self {
        let seed = site.plan.seed ^ ((campaign as u64) << 48) ^ ((number as u64) << 32);
        let (random, notes) = (SmallRng::seed_from_u64(seed), Arc::clone(&site.notes));
        Self { store, random, campaign, number, notes, turn: 0 }
    }

    /// Prepares an append of the form. Reading is not under test: what fails is tried again.
    pub async fn prepare(&mut self, form: Form, events: Option<usize>) -> Result<Draft, Failure> {
        self.turn += 1;
        // Books change now and then, so that histories stay short.
        let book = match form {
            Form::Shared => {
                let turn = self.notes.tally(self.campaign).appends / 64;
                format!("{:02}-shared-{turn:06}", self.campaign as u8)
            }
            _ => format!("{:02}-{:06}-{:06}", self.campaign as u8, self.number, self.turn / 8),
        };
        let mut failed = 0;
        loop {
            let drafted = match events {
                Some(count) => {
                    Draft::of_events(&self.store, form, &book, count, &mut self.random).await
                }
                None => Draft::prepare(&self.store, form, &book, &mut self.random).await,
            };
            let error = match drafted {
                Ok(draft) => return Ok(draft),
                Err(error) => error,
            };
            failed += 1;
            if failed > PATIENCE {
                let (campaign, last) = (self.campaign, in_one_line(&error));
                return Err(Failure::Stuck { campaign, faults: failed, last });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Appends, and notes the answer; dropped before it came, it notes that.
    pub async fn append(&self, draft: Draft) -> Result<(), Error> {
        let ticket = self.notes.begin(self.campaign, draft.ids());
        let answer = self.store.append(draft.events, draft.condition).await;
        ticket.tell(&answer);
        answer.map(drop)
    }

    /// Prepares an append of the form and makes it.
    pub async fn append_one(&mut self, form: Form, events: Option<usize>) -> Result<(), Failure> {
        let draft = self.prepare(form, events).await?;
        if self.append(draft).await.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Returns the next form, by turns.
    pub fn next_form(&self) -> Form {
        Form::ALL[(self.number as u64 + self.turn) as usize % Form::ALL.len()]
    }
}

const PAUSE: Duration = Duration::from_millis(3);

/// How many failures in a row a writer takes.
const PATIENCE: u32 = 2_000;

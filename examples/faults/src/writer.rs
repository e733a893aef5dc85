//! Who appends, and notes what it was told.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use console::error_chain;
use eddyline::{Decided, Decision, Error, History, ReadWrite, Store};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::draft::{Draft, Form, MOST_EVENTS, loans, loans_of};
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
        let book = self.next_book(form);
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
                let (campaign, last) = (self.campaign, error_chain(&error));
                return Err(Failure::Stuck { campaign, faults: failed, last });
            }
            tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
        }
    }

    /// Appends, and notes the answer; dropped before it came, it notes that.
    pub async fn append(&self, draft: Draft) -> Result<(), Error> {
        let ticket = self.notes.begin(self.campaign);
        ticket.add_round(&draft.events);
        let answer = self.store.append(draft.events, draft.condition).await.map(Some);
        ticket.tell(&answer);
        answer.map(drop)
    }

    /// Leaves it to the store to decide on a book, and notes the answer in the same way. Each round
    /// has events of its own, and is told before it is appended.
    pub async fn decide(
        &mut self,
        form: Form,
        events: Option<usize>,
        each_round: impl Fn(),
    ) -> Result<(), Error> {
        let book = self.next_book(form);
        let count = events.unwrap_or_else(|| self.random.random_range(1..=MOST_EVENTS));
        let filter = loans_of(&book)?;
        let random = RefCell::new(&mut self.random);
        let ticket = self.notes.begin_decision(self.campaign);
        let decide = |_: &History<ReadWrite>| {
            let events = loans(&book, count, &mut random.borrow_mut())?;
            ticket.add_round(&events);
            each_round();
            Ok::<_, Error>(Decision::append(events))
        };
        // The future is large, and becomes part of others.
        let answer = Box::pin(self.store.decide(&filter, decide)).await;
        if answer.as_ref().is_ok_and(Decided::is_escalated) {
            ticket.escalated();
        }
        let answer = answer.map(|decided| decided.appended());
        ticket.tell(&answer);
        answer.map(drop)
    }

    /// Prepares an append of the form and makes it.
    pub async fn append_one(&mut self, form: Form, events: Option<usize>) -> Result<(), Failure> {
        let draft = self.prepare(form, events).await?;
        if self.append(draft).await.is_err() {
            tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
        }
        Ok(())
    }

    /// Begins with a book of its own that has no events yet.
    pub fn begin_book(&mut self) {
        self.turn = self.turn.next_multiple_of(TURNS_OF_A_BOOK);
    }

    /// Returns the next book. They change now and then, so that histories stay short.
    fn next_book(&mut self, form: Form) -> String {
        self.turn += 1;
        match form {
            Form::Shared => {
                let turn = self.notes.tally(self.campaign).appends / 64;
                format!("{:02}-shared-{turn:06}", self.campaign as u8)
            }
            _ => format!(
                "{:02}-{:06}-{:06}",
                self.campaign as u8,
                self.number,
                self.turn / TURNS_OF_A_BOOK
            ),
        }
    }

    /// Returns the next form, by turns.
    pub fn next_form(&self) -> Form {
        Form::ALL[(self.number as u64 + self.turn) as usize % Form::ALL.len()]
    }
}

const TURNS_OF_A_BOOK: u64 = 8;

/// How long a writer waits after a failure.
pub const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(3);

/// How many failures in a row a writer takes.
const PATIENCE: u32 = 2_000;

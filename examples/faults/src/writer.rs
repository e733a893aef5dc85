//! Writers that append and record the outcomes.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use console::error_chain;
use eddyline::{Decided, Decision, Error, History, ReadWrite, Store};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::draft::{ConditionKind, Draft, MOST_EVENTS, loans, loans_of};
use crate::recorder::Recorder;
use crate::testbed::Testbed;
use crate::{Campaign, Failure};

/// A writer, which calls the store.
pub struct Writer {
    pub store: Store<ReadWrite>,
    pub random: SmallRng,
    campaign: Campaign,
    number: usize,
    recorder: Arc<Recorder>,
    appends: u64,
}

impl Writer {
    pub fn new(
        testbed: &Testbed,
        campaign: Campaign,
        number: usize,
        store: Store<ReadWrite>,
    ) -> Self {
        let seed = testbed.plan.seed ^ ((campaign as u64) << 48) ^ ((number as u64) << 32);
        let (random, recorder) = (SmallRng::seed_from_u64(seed), Arc::clone(&testbed.recorder));
        Self { store, random, campaign, number, recorder, appends: 0 }
    }

    /// Prepares an append with a condition of the given kind. Reads are not under test, so this
    /// retries them.
    pub async fn prepare(
        &mut self,
        kind: ConditionKind,
        events: Option<usize>,
    ) -> Result<Draft, Failure> {
        let book = self.next_book(kind);
        let mut failed = 0;
        loop {
            let drafted = match events {
                Some(count) => {
                    Draft::of_events(&self.store, kind, &book, count, &mut self.random).await
                }
                None => Draft::prepare(&self.store, kind, &book, &mut self.random).await,
            };
            let error = match drafted {
                Ok(draft) => return Ok(draft),
                Err(error) => error,
            };
            failed += 1;
            if failed > MOST_FAILURES {
                let (campaign, last) = (self.campaign, error_chain(&error));
                return Err(Failure::Stuck { campaign, failures: failed, last });
            }
            tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
        }
    }

    /// Appends, and records the outcome. If the future is dropped, the append is recorded as
    /// abandoned.
    pub async fn append(&self, draft: Draft) -> Result<(), Error> {
        let operation = self.recorder.begin(self.campaign);
        operation.add_attempt(&draft.events);
        let answer = self.store.append(draft.events, draft.condition).await.map(Some);
        operation.complete(&answer);
        answer.map(drop)
    }

    /// Decides on a book with the store's `decide`, and records the outcome. Each attempt has
    /// events of its own, which are recorded before they are appended.
    pub async fn decide(
        &mut self,
        kind: ConditionKind,
        events: Option<usize>,
        on_attempt: impl Fn(),
    ) -> Result<(), Error> {
        let book = self.next_book(kind);
        let count = events.unwrap_or_else(|| self.random.random_range(1..=MOST_EVENTS));
        let filter = loans_of(&book)?;
        let random = RefCell::new(&mut self.random);
        let operation = self.recorder.begin_decision(self.campaign);
        let decide = |_: &History<ReadWrite>| {
            let events = loans(&book, count, &mut random.borrow_mut())?;
            operation.add_attempt(&events);
            on_attempt();
            Ok::<_, Error>(Decision::append(events))
        };
        // The future is large and is nested in others.
        let answer = Box::pin(self.store.decide(&filter, decide)).await;
        if answer.as_ref().is_ok_and(Decided::is_escalated) {
            operation.add_escalation();
        }
        let answer = answer.map(|decided| decided.appended());
        operation.complete(&answer);
        answer.map(drop)
    }

    /// Prepares an append with a condition of the given kind, and makes it.
    pub async fn append_one(
        &mut self,
        kind: ConditionKind,
        events: Option<usize>,
    ) -> Result<(), Failure> {
        let draft = self.prepare(kind, events).await?;
        if self.append(draft).await.is_err() {
            tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
        }
        Ok(())
    }

    /// Makes the next book of its own one without events.
    pub fn begin_book(&mut self) {
        self.appends = self.appends.next_multiple_of(APPENDS_PER_BOOK);
    }

    /// Returns the next book. Books change regularly, so that histories stay short.
    fn next_book(&mut self, kind: ConditionKind) -> String {
        self.appends += 1;
        match kind {
            ConditionKind::Shared => {
                let generation = self.recorder.tally(self.campaign).appends / 64;
                format!("{:02}-shared-{generation:06}", self.campaign as u8)
            }
            _ => format!(
                "{:02}-{:06}-{:06}",
                self.campaign as u8,
                self.number,
                self.appends / APPENDS_PER_BOOK
            ),
        }
    }

    /// Returns the next kind of condition, in rotation.
    pub fn next_kind(&self) -> ConditionKind {
        ConditionKind::ALL[(self.number as u64 + self.appends) as usize % ConditionKind::ALL.len()]
    }
}

const APPENDS_PER_BOOK: u64 = 8;

/// The pause of a writer after a failure.
pub const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(3);

/// The number of consecutive failures that a writer tolerates.
const MOST_FAILURES: u32 = 2_000;

//! What callers were told, and what struck, as it happens.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use console::error_chain;
use eddyline::{Appended, Error, Event};
use tokio::time::Instant;
use uuid::Uuid;

use crate::Campaign;
use crate::checker::{Testimony, Told};

/// Notes that everybody writes to.
#[derive(Debug, Default)]
pub struct Notes {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    testimony: Testimony,
    tallies: BTreeMap<Campaign, Tally>,
}

/// The counts of a campaign.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Appends begun, those of decisions included.
    pub appends: u64,
    /// Appends whose caller has not been told anything yet.
    pub in_flight: u64,
    pub accepted: u64,
    /// By the names of their classes.
    pub refused: BTreeMap<&'static str, u64>,
    pub unknown: u64,
    /// Appends whose caller did not wait for the answer.
    pub given_up: u64,
    /// Faults that hit something.
    pub struck: u64,
    /// Appends that were left to the store to decide.
    pub decisions: u64,
    /// Rounds of decisions that others followed.
    pub superseded: u64,
    /// Decisions that were accepted under the log's lock.
    pub escalated: u64,
    /// Connections that the stores made.
    pub connections: u64,
    /// How many bytes what is struck and its answer have, where that was measured.
    pub exchanges: Vec<(&'static str, u64, u64)>,
    /// The first refusal that is no conflict, and the first unknown outcome.
    pub trouble: Option<String>,
}

/// An append or a decision that is under way; dropped without being told, its caller has given up.
#[derive(Debug)]
pub struct Ticket {
    notes: Arc<Notes>,
    campaign: Campaign,
    /// The ids of the events of each of its rounds; an append has one.
    rounds: RefCell<Vec<Vec<Uuid>>>,
    /// The ids that the answer names.
    named: Option<Vec<Uuid>>,
    started: Instant,
    told: Option<Told>,
}

impl Notes {
    /// Takes down that an append begins.
    pub fn begin(self: &Arc<Self>, campaign: Campaign) -> Ticket {
        let mut state = self.lock();
        let tally = state.tallies.entry(campaign).or_default();
        tally.appends += 1;
        tally.in_flight += 1;
        Ticket {
            notes: Arc::clone(self),
            campaign,
            rounds: RefCell::default(),
            named: None,
            started: Instant::now(),
            told: None,
        }
    }

    /// Takes down that a decision begins.
    pub fn begin_decision(self: &Arc<Self>, campaign: Campaign) -> Ticket {
        self.lock().tallies.entry(campaign).or_default().decisions += 1;
        self.begin(campaign)
    }

    /// Takes down that faults hit something.
    pub fn struck(&self, campaign: Campaign, faults: u64) {
        self.lock().tallies.entry(campaign).or_default().struck += faults;
    }

    /// Takes down how many bytes what is struck and its answer have.
    pub fn measured(&self, campaign: Campaign, what: &'static str, to_server: u64, to_client: u64) {
        let exchange = (what, to_server, to_client);
        self.lock().tallies.entry(campaign).or_default().exchanges.push(exchange);
    }

    /// Takes down how many connections were made.
    pub fn connected(&self, campaign: Campaign, connections: u64) {
        self.lock().tallies.entry(campaign).or_default().connections += connections;
    }

    /// Takes down that a reader saw an event.
    pub fn seen(&self, campaign: Campaign, id: Uuid, number: u64) {
        let told = Told::Accepted { first: number, last: number };
        self.lock().testimony.add(campaign, vec![vec![id]], None, told);
    }

    /// Takes down that the server cannot be reached; until the guard is dropped.
    pub fn outage(self: &Arc<Self>) -> Outage {
        Outage { notes: Arc::clone(self), since: Instant::now() }
    }

    /// Returns the counts of a campaign so far.
    pub fn tally(&self, campaign: Campaign) -> Tally {
        self.lock().tallies.get(&campaign).cloned().unwrap_or_default()
    }

    /// Takes everything out.
    pub fn take(&self) -> (Testimony, BTreeMap<Campaign, Tally>) {
        let State { testimony, tallies } = std::mem::take(&mut *self.lock());
        (testimony, tallies)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Takes down the events that the store is given: all of an append, or of a decision's round.
    pub fn add_round(&self, events: &[Event]) {
        self.rounds.borrow_mut().push(events.iter().map(Event::id).collect());
    }

    /// Takes down that a decision was accepted under the log's lock.
    pub fn escalated(&self) {
        self.notes.lock().tallies.entry(self.campaign).or_default().escalated += 1;
    }

    /// Takes down what the caller was told.
    pub fn tell(mut self, answer: &Result<Option<Appended>, Error>) {
        self.told = Some(match answer {
            Ok(appended) => {
                // Of one that has no places, they are 0, where nothing is.
                let places = appended.map(|it| (it.first().value(), it.last().value()));
                let (first, last) = places.unwrap_or_default();
                Told::Accepted { first, last }
            }
            Err(error @ Error::OutcomeUnknown { event_ids, .. }) => {
                self.note_trouble(error);
                self.named = Some(event_ids.clone());
                Told::Unknown { started: self.started }
            }
            Err(error) => {
                if !error.is_conflict() {
                    self.note_trouble(error);
                }
                Told::Refused { class: error.class().as_str() }
            }
        });
    }

    fn note_trouble(&self, error: &Error) {
        let mut state = self.notes.lock();
        let tally = state.tallies.entry(self.campaign).or_default();
        tally.trouble.get_or_insert_with(|| error_chain(error));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let told = self.told.take().unwrap_or(Told::GivenUp);
        let mut state = self.notes.lock();
        let tally = state.tallies.entry(self.campaign).or_default();
        tally.in_flight -= 1;
        match told {
            Told::Accepted { .. } => tally.accepted += 1,
            Told::GivenUp => tally.given_up += 1,
            Told::Refused { class } => *tally.refused.entry(class).or_default() += 1,
            // Of a round, not of what was told of all of them.
            Told::Superseded => {}
            Told::Unknown { .. } => tally.unknown += 1,
        }
        let rounds = self.rounds.take();
        tally.superseded += rounds.len().saturating_sub(1) as u64;
        state.testimony.add(self.campaign, rounds, self.named.as_deref(), told);
    }
}

/// A time in which the server cannot be reached.
#[derive(Debug)]
pub struct Outage {
    notes: Arc<Notes>,
    since: Instant,
}

impl Drop for Outage {
    fn drop(&mut self) {
        let outage = (self.since, Instant::now());
        self.notes.lock().testimony.outages.push(outage);
    }
}

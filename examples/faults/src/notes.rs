//! What callers were told, and what struck, as it happens.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eddyline::{Appended, Error};
use telling::in_one_line;
use tokio::time::Instant;
use uuid::Uuid;

use crate::Campaign;
use crate::checker::{Fact, Testimony, Told};

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
    /// Appends begun.
    pub appends: u64,
    /// Appends whose caller has not been told anything yet.
    pub in_flight: u64,
    pub events: u64,
    pub accepted: u64,
    /// By the names of their classes.
    pub refused: BTreeMap<&'static str, u64>,
    pub unknown: u64,
    /// Appends whose caller did not wait for the answer.
    pub given_up: u64,
    /// Faults that hit something.
    pub struck: u64,
    /// Connections that the stores made.
    pub connections: u64,
    /// How many bytes an append and its answer have, where that was measured.
    pub exchange: Option<(u64, u64)>,
    /// The first refusal that is no conflict, and the first unknown outcome.
    pub trouble: Option<String>,
}

/// An append that is under way; dropped without being told, its caller has given up.
#[derive(Debug)]
pub struct Ticket {
    notes: Arc<Notes>,
    campaign: Campaign,
    ids: Vec<Uuid>,
    started: Instant,
    told: Option<Told>,
}

impl Notes {
    /// Takes down that an append begins.
    pub fn begin(self: &Arc<Self>, campaign: Campaign, ids: Vec<Uuid>) -> Ticket {
        let mut state = self.lock();
        let tally = state.tallies.entry(campaign).or_default();
        tally.appends += 1;
        tally.in_flight += 1;
        tally.events += ids.len() as u64;
        Ticket { notes: Arc::clone(self), campaign, ids, started: Instant::now(), told: None }
    }

    /// Takes down that faults hit something.
    pub fn struck(&self, campaign: Campaign, faults: u64) {
        self.lock().tallies.entry(campaign).or_default().struck += faults;
    }

    /// Takes down how many bytes an append and its answer have.
    pub fn measured(&self, campaign: Campaign, to_server: u64, to_client: u64) {
        let exchange = Some((to_server, to_client));
        self.lock().tallies.entry(campaign).or_default().exchange = exchange;
    }

    /// Takes down how many connections were made.
    pub fn connected(&self, campaign: Campaign, connections: u64) {
        self.lock().tallies.entry(campaign).or_default().connections += connections;
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
    /// Takes down what the caller was told.
    pub fn tell(mut self, answer: &Result<Appended, Error>) {
        self.told = Some(match answer {
            Ok(appended) => {
                Told::Accepted { first: appended.first().value(), last: appended.last().value() }
            }
            Err(error) if error.is_outcome_unknown() => {
                self.note_trouble(error);
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
        tally.trouble.get_or_insert_with(|| in_one_line(error));
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
            Told::Unknown { .. } => tally.unknown += 1,
        }
        let (campaign, ids) = (self.campaign, std::mem::take(&mut self.ids));
        state.testimony.facts.push(Fact { campaign, ids, told });
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

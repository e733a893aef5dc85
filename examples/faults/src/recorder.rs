//! The record of operations, their outcomes and the faults.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use console::error_chain;
use eddyline::{Appended, Error, Event};
use tokio::time::Instant;
use uuid::Uuid;

use crate::Campaign;
use crate::checker::{Observations, Outcome};

/// A recorder that all writers share.
#[derive(Debug, Default)]
pub struct Recorder {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    observations: Observations,
    tallies: BTreeMap<Campaign, Tally>,
}

/// The counts of a campaign.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// The number of appends begun, including decisions.
    pub appends: u64,
    /// The number of appends without an answer so far.
    pub in_flight: u64,
    pub accepted: u64,
    /// The number of refused appends, by the name of their error class.
    pub refused: BTreeMap<&'static str, u64>,
    pub unknown: u64,
    /// The number of appends that their callers abandoned.
    pub abandoned: u64,
    /// The number of faults that took effect.
    pub faults: u64,
    /// The number of appends by the store's `decide`.
    pub decisions: u64,
    /// The number of attempts of decisions that were followed by another one.
    pub superseded: u64,
    /// The number of decisions that were accepted under the log's lock.
    pub escalated: u64,
    /// The number of connections that the stores made.
    pub connections: u64,
    /// The measured numbers of bytes of exchanges, to the server and to the client.
    pub exchanges: Vec<(&'static str, u64, u64)>,
    /// The first unknown outcome or refusal for another reason than a conflict.
    pub first_error: Option<String>,
}

/// A pending append or decision. If it is dropped before it is completed, its caller has abandoned
/// it.
#[derive(Debug)]
pub struct PendingOperation {
    recorder: Arc<Recorder>,
    campaign: Campaign,
    /// The ids of the events of each attempt. An append has one attempt.
    attempts: RefCell<Vec<Vec<Uuid>>>,
    /// The ids that the answer names.
    named: Option<Vec<Uuid>>,
    started: Instant,
    outcome: Option<Outcome>,
}

impl Recorder {
    /// Records the beginning of an append.
    pub fn begin(self: &Arc<Self>, campaign: Campaign) -> PendingOperation {
        let mut state = self.lock();
        let tally = state.tallies.entry(campaign).or_default();
        tally.appends += 1;
        tally.in_flight += 1;
        PendingOperation {
            recorder: Arc::clone(self),
            campaign,
            attempts: RefCell::default(),
            named: None,
            started: Instant::now(),
            outcome: None,
        }
    }

    /// Records the beginning of a decision.
    pub fn begin_decision(self: &Arc<Self>, campaign: Campaign) -> PendingOperation {
        self.lock().tallies.entry(campaign).or_default().decisions += 1;
        self.begin(campaign)
    }

    /// Records that faults took effect.
    pub fn add_faults(&self, campaign: Campaign, faults: u64) {
        self.lock().tallies.entry(campaign).or_default().faults += faults;
    }

    /// Records the number of bytes of an exchange.
    pub fn add_exchange(
        &self,
        campaign: Campaign,
        what: &'static str,
        to_server: u64,
        to_client: u64,
    ) {
        let exchange = (what, to_server, to_client);
        self.lock().tallies.entry(campaign).or_default().exchanges.push(exchange);
    }

    /// Records the number of connections.
    pub fn add_connections(&self, campaign: Campaign, connections: u64) {
        self.lock().tallies.entry(campaign).or_default().connections += connections;
    }

    /// Records that a reader saw an event.
    pub fn add_seen(&self, campaign: Campaign, id: Uuid, position: u64) {
        let outcome = Outcome::Accepted { first: position, last: position };
        self.lock().observations.add(campaign, vec![vec![id]], None, outcome);
    }

    /// Records that the server is not reachable, until the guard is dropped.
    pub fn outage(self: &Arc<Self>) -> Outage {
        Outage { recorder: Arc::clone(self), since: Instant::now() }
    }

    /// Returns the counts of a campaign so far.
    pub fn tally(&self, campaign: Campaign) -> Tally {
        self.lock().tallies.get(&campaign).cloned().unwrap_or_default()
    }

    /// Returns everything recorded, and resets the recorder.
    pub fn take(&self) -> (Observations, BTreeMap<Campaign, Tally>) {
        let State { observations, tallies } = std::mem::take(&mut *self.lock());
        (observations, tallies)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PendingOperation {
    /// Records the events that the store receives: those of an append, or of an attempt of a
    /// decision.
    pub fn add_attempt(&self, events: &[Event]) {
        self.attempts.borrow_mut().push(events.iter().map(Event::id).collect());
    }

    /// Records that the decision was accepted under the log's lock.
    pub fn add_escalation(&self) {
        self.recorder.lock().tallies.entry(self.campaign).or_default().escalated += 1;
    }

    /// Records the answer.
    pub fn complete(mut self, answer: &Result<Option<Appended>, Error>) {
        self.outcome = Some(match answer {
            Ok(appended) => {
                // Without positions these are 0, which is the position of no event.
                let positions = appended.map(|it| (it.first().value(), it.last().value()));
                let (first, last) = positions.unwrap_or_default();
                Outcome::Accepted { first, last }
            }
            Err(error @ Error::OutcomeUnknown { event_ids, .. }) => {
                self.record_error(error);
                self.named = Some(event_ids.clone());
                Outcome::Unknown { started: self.started }
            }
            Err(error) => {
                if !error.is_conflict() {
                    self.record_error(error);
                }
                Outcome::Refused { class: error.class().as_str() }
            }
        });
    }

    fn record_error(&self, error: &Error) {
        let mut state = self.recorder.lock();
        let tally = state.tallies.entry(self.campaign).or_default();
        tally.first_error.get_or_insert_with(|| error_chain(error));
    }
}

impl Drop for PendingOperation {
    fn drop(&mut self) {
        let outcome = self.outcome.take().unwrap_or(Outcome::Abandoned);
        let mut state = self.recorder.lock();
        let tally = state.tallies.entry(self.campaign).or_default();
        tally.in_flight -= 1;
        match outcome {
            Outcome::Accepted { .. } => tally.accepted += 1,
            Outcome::Abandoned => tally.abandoned += 1,
            Outcome::Refused { class } => *tally.refused.entry(class).or_default() += 1,
            // A single attempt can have this outcome, but not the whole operation.
            Outcome::Superseded => {}
            Outcome::Unknown { .. } => tally.unknown += 1,
        }
        let attempts = self.attempts.take();
        tally.superseded += attempts.len().saturating_sub(1) as u64;
        state.observations.add(self.campaign, attempts, self.named.as_deref(), outcome);
    }
}

/// A period in which the server is not reachable.
#[derive(Debug)]
pub struct Outage {
    recorder: Arc<Recorder>,
    since: Instant,
}

impl Drop for Outage {
    fn drop(&mut self) {
        let outage = (self.since, Instant::now());
        self.recorder.lock().observations.outages.push(outage);
    }
}

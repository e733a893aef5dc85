//! Writers that read a boundary, count its events, and append events with that count.

use std::time::Duration;

use console::error_chain;
use rand::RngExt;
use rand::rngs::SmallRng;

use super::{Assignment, ConsecutiveErrors, Race};
use crate::boundary::{Boundary, FULL, FilterKind};
use crate::event::{Decision, NewEvent, ids, new_events};
use crate::failure::Failure;
use crate::filter::FilterSpec;
use crate::kind::Kind;
use crate::message::{Conflict, Exclusivity, Message};
use crate::protocol::{Outcome, Protocol, Reading, ReportedConflict};

/// Decides on the shared boundaries, with each kind of filter in rotation.
pub async fn shared(race: &Race, writer: usize, mut random: SmallRng) -> Result<(), Failure> {
    race.wait_for_start().await;
    let mut errors = ConsecutiveErrors::default();
    for index in writer.. {
        if !race.is_on() {
            break;
        }
        let kind = FilterKind::ALL[index % FilterKind::ALL.len()];
        let decider = Decider {
            is_fresh: false,
            protocol: &race.protocol,
            race,
            boundary: race.boundaries.any(&mut random),
            kind,
        };
        if let Ended::Full = decider.decide(&mut random, &mut errors).await? {
            race.boundaries.replace(&decider.boundary);
        }
    }
    Ok(())
}

/// Decides on the shared boundaries, with a newly connected store for each decision.
pub async fn fresh(
    race: &Race,
    assignment: &Assignment,
    mut random: SmallRng,
) -> Result<(), Failure> {
    race.wait_for_start().await;
    let mut errors = ConsecutiveErrors::default();
    for index in 0.. {
        if !race.is_on() {
            break;
        }
        let connected = Protocol::connect(assignment.protocol, &assignment.addresses, 2).await;
        let protocol = match connected {
            Ok(protocol) => protocol,
            Err(failure) => {
                errors.add(race, Vec::new(), error_chain(&failure)).await?;
                continue;
            }
        };
        let kind = FilterKind::ALL[index % FilterKind::ALL.len()];
        let boundary = race.boundaries.any(&mut random);
        let decider = Decider { is_fresh: true, protocol: &protocol, race, boundary, kind };
        if let Ended::Full = decider.decide(&mut random, &mut errors).await? {
            race.boundaries.replace(&decider.boundary);
        }
    }
    Ok(())
}

/// Decides on boundaries that have no other writer.
pub async fn private(race: &Race, writer: usize, mut random: SmallRng) -> Result<(), Failure> {
    race.wait_for_start().await;
    let mut errors = ConsecutiveErrors::default();
    let mut generation = 0;
    for index in 0.. {
        if !race.is_on() {
            break;
        }
        let kind = FilterKind::ALL[index % FilterKind::ALL.len()];
        let decider = Decider {
            is_fresh: false,
            protocol: &race.protocol,
            race,
            boundary: Boundary::private(writer, generation),
            kind,
        };
        if let Ended::Full = decider.decide(&mut random, &mut errors).await? {
            generation += 1;
        }
    }
    Ok(())
}

struct Decider<'a> {
    race: &'a Race,
    protocol: &'a Protocol,
    /// Whether the protocol has just connected.
    is_fresh: bool,
    boundary: Boundary,
    kind: FilterKind,
}

/// The end of a decision.
enum Ended {
    /// The boundary is full.
    Full,
    /// The decision was accepted, or its outcome is unknown, or the race is over.
    Taken,
}

impl Decider<'_> {
    /// Takes a decision, and repeats it after conflicts and errors.
    async fn decide(
        &self,
        random: &mut SmallRng,
        errors: &mut ConsecutiveErrors,
    ) -> Result<Ended, Failure> {
        let filter = self.boundary.filter(self.kind);
        while self.race.is_on() {
            let reading = match self.protocol.read(&filter, random).await {
                Ok(reading) => reading,
                Err(error) => {
                    errors.add(self.race, Vec::new(), error).await?;
                    continue;
                }
            };
            if reading.count >= FULL {
                return Ok(Ended::Full);
            }
            if random.random_ratio(1, 8) {
                tokio::time::sleep(Duration::from_micros(random.random_range(0..3_000))).await;
            }
            if let Some(ended) = self.append(&filter, reading, random, errors).await? {
                return Ok(ended);
            }
        }
        Ok(Ended::Taken)
    }

    /// Appends the events of a decision. Returns `None` if the decision must be repeated.
    async fn append(
        &self,
        filter: &FilterSpec,
        reading: Reading,
        random: &mut SmallRng,
        errors: &mut ConsecutiveErrors,
    ) -> Result<Option<Ended>, Failure> {
        let Reading { count, position, condition } = reading;
        let decision = Decision { filter: filter.clone(), since: 0, count, read_at: position };
        let events = events(&self.boundary, self.kind, decision, random);
        let outcome = self.race.append_by(self.protocol, &events, condition, random).await;
        let Some(outcome) = outcome else {
            // The events may still be stored, which would break the next condition on a private
            // boundary.
            let private = self.boundary.is_private();
            return Ok(Some(if private { Ended::Full } else { Ended::Taken }));
        };
        match outcome {
            Outcome::Accepted { first, last } => {
                errors.reset();
                self.accepted(&events, first, last).await;
                Ok(Some(Ended::Taken))
            }
            Outcome::Conflict(reported) => {
                errors.reset();
                self.refused(&events, filter, position, reported).await;
                Ok(None)
            }
            Outcome::Refused(error) | Outcome::Unknown(error) => {
                errors.add(self.race, ids(&events), error).await?;
                Ok(None)
            }
        }
    }

    async fn accepted(&self, events: &[NewEvent], first: u64, last: u64) {
        if self.is_fresh {
            self.race.count(Kind::FreshStore);
        } else if self.boundary.is_private() {
            self.race.count(Kind::PrivateDecision);
        } else {
            self.race.count(Kind::Decision(self.kind));
            if events.len() > 1 {
                self.race.count(Kind::DecisionOfMany);
            }
        }
        self.race.send(Message::Accepted { ids: ids(events), first, last }).await;
    }

    async fn refused(
        &self,
        events: &[NewEvent],
        filter: &FilterSpec,
        read_at: u64,
        reported: ReportedConflict,
    ) {
        let ReportedConflict { after, event, head } = reported;
        let private = self.boundary.is_private();
        if !private {
            self.race.count(Kind::Conflict);
        }
        let filter = filter.clone();
        let exclusivity = private.then_some(Exclusivity::Private);
        let conflict = Conflict { filter, read_at, after, event, head, exclusivity };
        self.race.send(Message::Conflict(conflict)).await;
        self.race.send(Message::Refused { ids: ids(events), error: None }).await;
    }
}

/// Makes the events of a decision.
pub fn events(
    boundary: &Boundary,
    kind: FilterKind,
    decision: Decision,
    random: &mut SmallRng,
) -> Vec<NewEvent> {
    let events = if random.random_ratio(1, 4) { random.random_range(2..5) } else { 1 };
    let count = decision.count;
    let contents = (0..events).map(|_| {
        let (event_type, mut payload) = boundary.event(kind, random);
        payload["Count"] = count.into();
        (event_type, payload)
    });
    new_events(contents, Some(decision))
}

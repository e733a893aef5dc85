//! Writers who decide: they read a boundary, count what they see, and append the count.

use std::time::Duration;

use console::error_chain;
use rand::RngExt;
use rand::rngs::SmallRng;

use super::{Assignment, Race, Trouble};
use crate::boundary::{Boundary, FilterKind, OLD};
use crate::event::{Decision, NewEvent, ids, new_events};
use crate::fact::{Conflict, Fact, Immunity};
use crate::failure::Failure;
use crate::filter::FilterSpec;
use crate::kind::Kind;
use crate::protocol::{Broken, Outcome, Protocol, Reading};

/// Decides on the shared boundaries, by every kind of filter in turn.
pub async fn shared(race: &Race, writer: usize, mut random: SmallRng) -> Result<(), Failure> {
    race.wait_for_start().await;
    let mut trouble = Trouble::default();
    for turn in writer.. {
        if !race.is_on() {
            break;
        }
        let kind = FilterKind::ALL[turn % FilterKind::ALL.len()];
        let decider = Decider {
            is_fresh: false,
            protocol: &race.protocol,
            race,
            boundary: race.boundaries.any(&mut random),
            kind,
        };
        if let Ended::Old = decider.decide(&mut random, &mut trouble).await? {
            race.boundaries.retire(&decider.boundary);
        }
    }
    Ok(())
}

/// Decides on the shared boundaries, each time by a store that has just connected.
pub async fn fresh(
    race: &Race,
    assignment: &Assignment,
    mut random: SmallRng,
) -> Result<(), Failure> {
    race.wait_for_start().await;
    let mut trouble = Trouble::default();
    for turn in 0.. {
        if !race.is_on() {
            break;
        }
        let connected = Protocol::connect(assignment.protocol, &assignment.addresses, 2).await;
        let protocol = match connected {
            Ok(protocol) => protocol,
            Err(failure) => {
                trouble.met(race, Vec::new(), error_chain(&failure)).await?;
                continue;
            }
        };
        let kind = FilterKind::ALL[turn % FilterKind::ALL.len()];
        let boundary = race.boundaries.any(&mut random);
        let decider = Decider { is_fresh: true, protocol: &protocol, race, boundary, kind };
        if let Ended::Old = decider.decide(&mut random, &mut trouble).await? {
            race.boundaries.retire(&decider.boundary);
        }
    }
    Ok(())
}

/// Decides on boundaries that nobody else writes to.
pub async fn private(race: &Race, writer: usize, mut random: SmallRng) -> Result<(), Failure> {
    race.wait_for_start().await;
    let mut trouble = Trouble::default();
    let mut age = 0;
    for turn in 0.. {
        if !race.is_on() {
            break;
        }
        let kind = FilterKind::ALL[turn % FilterKind::ALL.len()];
        let decider = Decider {
            is_fresh: false,
            protocol: &race.protocol,
            race,
            boundary: Boundary::private(writer, age),
            kind,
        };
        if let Ended::Old = decider.decide(&mut random, &mut trouble).await? {
            age += 1;
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

/// How a decision ended.
enum Ended {
    /// The boundary has had its time.
    Old,
    /// It was accepted, or it will never be known, or the race is over.
    Taken,
}

impl Decider<'_> {
    /// Takes a decision, as often as it is refused.
    async fn decide(&self, random: &mut SmallRng, trouble: &mut Trouble) -> Result<Ended, Failure> {
        let filter = self.boundary.filter(self.kind);
        while self.race.is_on() {
            let reading = match self.protocol.read(&filter, random).await {
                Ok(reading) => reading,
                Err(fault) => {
                    trouble.met(self.race, Vec::new(), fault).await?;
                    continue;
                }
            };
            if reading.count >= OLD {
                return Ok(Ended::Old);
            }
            if random.random_ratio(1, 8) {
                tokio::time::sleep(Duration::from_micros(random.random_range(0..3_000))).await;
            }
            if let Some(ended) = self.append(&filter, reading, random, trouble).await? {
                return Ok(ended);
            }
        }
        Ok(Ended::Taken)
    }

    /// Appends what was decided; `None` is to start over.
    async fn append(
        &self,
        filter: &FilterSpec,
        reading: Reading,
        random: &mut SmallRng,
        trouble: &mut Trouble,
    ) -> Result<Option<Ended>, Failure> {
        let Reading { count, position, basis } = reading;
        let decision = Decision { filter: filter.clone(), since: 0, count, read_at: position };
        let events = events(&self.boundary, self.kind, decision, random);
        let outcome = self.race.append_by(self.protocol, &events, basis, random).await;
        let Some(outcome) = outcome else {
            // What may yet be stored would break the next condition on a private boundary.
            let private = self.boundary.is_private();
            return Ok(Some(if private { Ended::Old } else { Ended::Taken }));
        };
        match outcome {
            Outcome::Accepted { first, last } => {
                trouble.is_over();
                self.accepted(&events, first, last).await;
                Ok(Some(Ended::Taken))
            }
            Outcome::Conflict(broken) => {
                trouble.is_over();
                self.refused(&events, filter, position, broken).await;
                Ok(None)
            }
            Outcome::Refused(fault) | Outcome::Unknown(fault) => {
                trouble.met(self.race, ids(&events), fault).await?;
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
        self.race.tell(Fact::Accepted { ids: ids(events), first, last }).await;
    }

    async fn refused(
        &self,
        events: &[NewEvent],
        filter: &FilterSpec,
        read_at: u64,
        broken: Broken,
    ) {
        let Broken { after, event, head } = broken;
        let private = self.boundary.is_private();
        if !private {
            self.race.count(Kind::Conflict);
        }
        let filter = filter.clone();
        let immunity = private.then_some(Immunity::Private);
        let conflict = Conflict { filter, read_at, after, event, head, immunity };
        self.race.tell(Fact::Conflict(conflict)).await;
        self.race.tell(Fact::Refused { ids: ids(events), fault: None }).await;
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

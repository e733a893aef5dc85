//! Those who race, and what they have in common.

mod contender;
mod decider;
mod importer;
mod inserter;
mod single_store;
mod tail;
mod unconditional;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::boundary::Boundaries;
use crate::event::{NewEvent, ids};
use crate::fact::{Fact, Way};
use crate::failure::Failure;
use crate::kind::Kind;
use crate::protocol::{Basis, Outcome, Protocol, ProtocolName, Tenacity};
use crate::servers::Addresses;

/// What a worker needs to know of the race, and which part of it is its own.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Assignment {
    pub worker: usize,
    pub processes: usize,
    pub writers: usize,
    pub boundaries: usize,
    pub seed: u64,
    pub protocol: ProtocolName,
    pub addresses: Addresses,
}

impl Assignment {
    /// Returns how many connections to a server the actors of a process may share: one for each,
    /// as long as the server has enough.
    fn connections(&self) -> usize {
        let wanted = self.writers.div_ceil(self.processes) + Way::ALL.len();
        wanted.min((MOST_CONNECTIONS / self.processes).max(1))
    }
}

/// How far the race is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    Waiting,
    Racing,
    Stopping,
    Finishing { head: u64 },
}

/// What the actors of a process share.
pub struct Race {
    pub protocol: Protocol,
    pub boundaries: Boundaries,
    writers: usize,
    phase: watch::Receiver<Phase>,
    facts: mpsc::Sender<Fact>,
    tally: Mutex<BTreeMap<Kind, u64>>,
}

impl Race {
    /// Connects to the servers.
    pub async fn prepare(
        assignment: &Assignment,
        phase: watch::Receiver<Phase>,
        facts: mpsc::Sender<Fact>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            protocol: Protocol::connect(
                assignment.protocol,
                &assignment.addresses,
                assignment.connections(),
            )
            .await?,
            boundaries: Boundaries::new(assignment.boundaries),
            writers: assignment.writers,
            phase,
            facts,
            tally: Mutex::default(),
        })
    }

    /// Returns whether writers go on.
    fn is_on(&self) -> bool {
        self.phase() == Phase::Racing
    }

    fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    async fn wait_for_start(&self) {
        // Without anybody to start the race the process has ended.
        let _ = self.phase.clone().wait_for(|phase| *phase != Phase::Waiting).await;
    }

    /// Tells the main process.
    pub async fn tell(&self, fact: Fact) {
        // Without anybody to listen the process is about to end.
        let _ = self.facts.send(fact).await;
    }

    fn count(&self, kind: Kind) {
        *self.tally.lock().unwrap_or_else(PoisonError::into_inner).entry(kind).or_default() += 1;
    }

    /// Returns how often each kind of work was done.
    pub fn tally(&self) -> Fact {
        let tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        Fact::Tally(tally.iter().map(|(&kind, &count)| (kind, count)).collect())
    }

    /// Waits for a future, or now and then gives up on it half-way.
    async fn wait<T>(&self, future: impl Future<Output = T>, random: &mut SmallRng) -> Option<T> {
        if !random.random_ratio(1, 20) {
            return Some(future.await);
        }
        let patience = Duration::from_micros(random.random_range(0..8_000));
        tokio::time::timeout(patience, future).await.ok()
    }

    /// Appends, or now and then gives up on it half-way; `None` then, and if it is not known
    /// whether the events were stored.
    async fn append(
        &self,
        events: &[NewEvent],
        basis: Basis,
        random: &mut SmallRng,
    ) -> Option<Outcome> {
        self.append_by(&self.protocol, events, basis, random).await
    }

    /// The same by another protocol than that which the actors share.
    async fn append_by(
        &self,
        protocol: &Protocol,
        events: &[NewEvent],
        basis: Basis,
        random: &mut SmallRng,
    ) -> Option<Outcome> {
        match self.wait(protocol.append(events, basis), random).await {
            None => self.count(Kind::Abandoned),
            Some(Outcome::Unknown(_)) => {}
            known => return known,
        }
        self.tell(Fact::Doubtful { ids: ids(events) }).await;
        None
    }
}

/// The faults that an actor met one after the other.
#[derive(Default)]
struct Trouble {
    in_a_row: u32,
}

impl Trouble {
    /// Tells of a fault after which nothing was stored, and waits a little; too many in a row are
    /// a failure.
    async fn met(&mut self, race: &Race, ids: Vec<Uuid>, fault: String) -> Result<(), Failure> {
        self.in_a_row += 1;
        if self.in_a_row > PATIENCE {
            return Err(Failure::Stuck { faults: self.in_a_row, last: fault });
        }
        race.tell(Fact::Refused { ids, fault: Some(fault) }).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(())
    }

    fn is_over(&mut self) {
        self.in_a_row = 0;
    }
}

/// The parts that writers play.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Part {
    Contender(Tenacity),
    Decider,
    Inserter,
    Private,
    Unconditional,
}

/// The actors of a process: first those whose end is awaited, then those who read to the end.
pub struct Cast {
    pub writers: JoinSet<Result<(), Failure>>,
    pub readers: JoinSet<Result<(), Failure>>,
}

/// Lets every actor of the process get ready.
pub async fn assemble(race: &Arc<Race>, assignment: &Assignment) -> Result<Cast, Failure> {
    let mut cast = Cast { writers: JoinSet::new(), readers: JoinSet::new() };
    let own = |process: usize| process % assignment.processes == assignment.worker;
    let random = |actor: usize| SmallRng::seed_from_u64(assignment.seed ^ ((actor as u64) << 32));
    for writer in (0..assignment.writers).filter(|writer| own(writer + writer / PARTS.len())) {
        let (race, random) = (Arc::clone(race), random(writer));
        match PARTS[writer % PARTS.len()] {
            Part::Contender(tenacity) => {
                cast.writers
                    .spawn(async move { contender::run(&race, tenacity, writer, random).await });
            }
            Part::Decider => {
                cast.writers.spawn(async move { decider::shared(&race, writer, random).await });
            }
            Part::Inserter => {
                let table = assignment.protocol.table();
                let inserter = inserter::connect(&assignment.addresses, table).await?;
                cast.writers.spawn(async move { inserter.run(&race, random).await });
            }
            Part::Private => {
                cast.writers.spawn(async move { decider::private(&race, writer, random).await });
            }
            Part::Unconditional => {
                cast.writers.spawn(async move { unconditional::run(&race, random).await });
            }
        }
    }
    if assignment.protocol == ProtocolName::Eddyline {
        for (number, extra) in EXTRAS.into_iter().enumerate().filter(|(number, _)| own(*number)) {
            let (race, random) =
                (Arc::clone(race), random(assignment.writers + MOST_READERS + number));
            match extra {
                Extra::Calm => {
                    let single_store = single_store::connect(&assignment.addresses).await?;
                    cast.writers.spawn(async move { single_store.run(&race, random).await });
                }
                Extra::FreshStores => {
                    let assignment = assignment.clone();
                    cast.writers
                        .spawn(async move { decider::fresh(&race, &assignment, random).await });
                }
                Extra::Importer => {
                    cast.writers.spawn(async move { importer::run(&race, random).await });
                }
            }
        }
    }
    let readers = Way::ALL
        .into_iter()
        .flat_map(|way| assignment.addresses.servers().into_iter().map(move |it| (way, it)));
    for (number, (way, server)) in readers.enumerate().filter(|(number, _)| own(*number)) {
        let (race, random) = (Arc::clone(race), random(assignment.writers + number));
        let reader = tail::connect(assignment, way, server).await?;
        cast.readers.spawn(async move { reader.run(&race, random).await });
    }
    Ok(cast)
}

/// How the writers divide up; the first six make a race.
const PARTS: [Part; 10] = [
    Part::Decider,
    Part::Unconditional,
    Part::Inserter,
    Part::Private,
    Part::Contender(Tenacity::Optimistic),
    Part::Contender(Tenacity::Escalating),
    Part::Decider,
    Part::Contender(Tenacity::Optimistic),
    Part::Contender(Tenacity::Escalating),
    Part::Decider,
];

/// Actors that are there once in a race of the store, beside the writers.
#[derive(Clone, Copy, Debug)]
enum Extra {
    Calm,
    FreshStores,
    Importer,
}

const EXTRAS: [Extra; 3] = [Extra::Calm, Extra::FreshStores, Extra::Importer];

/// More than there are tailing readers, whose choices come of the numbers after the writers'.
const MOST_READERS: usize = 100;

/// The fewest writers among whom every part is played.
pub const FEWEST_WRITERS: usize = 6;

/// The most connections to a server that all processes share out.
const MOST_CONNECTIONS: usize = 200;

/// How many faults in a row an actor takes.
const PATIENCE: u32 = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fewest_writers_play_every_part() {
        let parts = &PARTS[..FEWEST_WRITERS];

        for part in PARTS {
            assert!(parts.contains(&part));
        }
    }
}

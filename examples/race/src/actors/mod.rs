//! The actors of a race (writers, importers and tailing readers) and their shared state.

mod decider;
mod importer;
mod inserter;
mod single_store;
mod store_decider;
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
use crate::failure::Failure;
use crate::kind::Kind;
use crate::message::{Message, TailMethod};
use crate::protocol::{Condition, DecidePolicy, Outcome, Protocol, ProtocolName};
use crate::servers::Addresses;

/// The parameters of a race, and the number of the worker that receives them.
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
    /// Returns how many connections to each server the actors of a process share: one per actor,
    /// within the limit for all processes.
    fn connections(&self) -> usize {
        let wanted = self.writers.div_ceil(self.processes) + TailMethod::ALL.len();
        wanted.min((MOST_CONNECTIONS / self.processes).max(1))
    }
}

/// The phase of a race.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    Waiting,
    Racing,
    Stopping,
    Finishing { head: u64 },
}

/// The state that the actors of a process share.
pub struct Race {
    pub protocol: Protocol,
    pub boundaries: Boundaries,
    writers: usize,
    phase: watch::Receiver<Phase>,
    messages: mpsc::Sender<Message>,
    tally: Mutex<BTreeMap<Kind, u64>>,
}

impl Race {
    /// Connects to the servers.
    pub async fn prepare(
        assignment: &Assignment,
        phase: watch::Receiver<Phase>,
        messages: mpsc::Sender<Message>,
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
            messages,
            tally: Mutex::default(),
        })
    }

    /// Returns whether writers must continue.
    fn is_on(&self) -> bool {
        self.phase() == Phase::Racing
    }

    fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    async fn wait_for_start(&self) {
        // If the sender is gone, the process is about to end.
        let _ = self.phase.clone().wait_for(|phase| *phase != Phase::Waiting).await;
    }

    /// Sends a message to the main process.
    pub async fn send(&self, message: Message) {
        // If the receiver is gone, the process is about to end.
        let _ = self.messages.send(message).await;
    }

    fn count(&self, kind: Kind) {
        *self.tally.lock().unwrap_or_else(PoisonError::into_inner).entry(kind).or_default() += 1;
    }

    /// Returns the number of operations of each kind.
    pub fn tally(&self) -> Message {
        let tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        Message::Tally(tally.iter().map(|(&kind, &count)| (kind, count)).collect())
    }

    /// Waits for a future, and occasionally drops it before it is complete.
    async fn wait_or_abandon<T>(
        &self,
        future: impl Future<Output = T>,
        random: &mut SmallRng,
    ) -> Option<T> {
        if !random.random_ratio(1, 20) {
            return Some(future.await);
        }
        let timeout = Duration::from_micros(random.random_range(0..8_000));
        tokio::time::timeout(timeout, future).await.ok()
    }

    /// Appends with the shared protocol, and occasionally drops the append before it is answered.
    /// Returns `None` if it was dropped or its outcome is unknown.
    async fn append(
        &self,
        events: &[NewEvent],
        condition: Condition,
        random: &mut SmallRng,
    ) -> Option<Outcome> {
        self.append_by(&self.protocol, events, condition, random).await
    }

    /// Appends like [`Self::append`], with the given protocol.
    async fn append_by(
        &self,
        protocol: &Protocol,
        events: &[NewEvent],
        condition: Condition,
        random: &mut SmallRng,
    ) -> Option<Outcome> {
        match self.wait_or_abandon(protocol.append(events, condition), random).await {
            None => self.count(Kind::Abandoned),
            Some(Outcome::Unknown(_)) => {}
            known => return known,
        }
        self.send(Message::Unknown { ids: ids(events) }).await;
        None
    }
}

/// The number of consecutive errors of an actor.
#[derive(Default)]
struct ConsecutiveErrors {
    count: u32,
}

impl ConsecutiveErrors {
    /// Reports an error after which nothing was stored, and pauses. Fails after too many
    /// consecutive errors.
    async fn add(&mut self, race: &Race, ids: Vec<Uuid>, error: String) -> Result<(), Failure> {
        self.count += 1;
        if self.count > MOST_ERRORS {
            return Err(Failure::Stuck { errors: self.count, last: error });
        }
        race.send(Message::Refused { ids, error: Some(error) }).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(())
    }

    fn reset(&mut self) {
        self.count = 0;
    }
}

/// The roles of writers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Role {
    StoreDecider(DecidePolicy),
    Decider,
    Inserter,
    Private,
    Unconditional,
}

/// The tasks of a process: writers, which end by themselves, and readers, which end when they have
/// read the whole log.
pub struct Actors {
    pub writers: JoinSet<Result<(), Failure>>,
    pub readers: JoinSet<Result<(), Failure>>,
}

/// Connects and spawns the actors of this process.
pub async fn start_actors(race: &Arc<Race>, assignment: &Assignment) -> Result<Actors, Failure> {
    let mut actors = Actors { writers: JoinSet::new(), readers: JoinSet::new() };
    let own = |process: usize| process % assignment.processes == assignment.worker;
    let random = |actor: usize| SmallRng::seed_from_u64(assignment.seed ^ ((actor as u64) << 32));
    for writer in (0..assignment.writers).filter(|writer| own(writer + writer / ROLES.len())) {
        let (race, random) = (Arc::clone(race), random(writer));
        match ROLES[writer % ROLES.len()] {
            Role::StoreDecider(policy) => {
                actors
                    .writers
                    .spawn(async move { store_decider::run(&race, policy, writer, random).await });
            }
            Role::Decider => {
                actors.writers.spawn(async move { decider::shared(&race, writer, random).await });
            }
            Role::Inserter => {
                let table = assignment.protocol.table();
                let inserter = inserter::connect(&assignment.addresses, table).await?;
                actors.writers.spawn(async move { inserter.run(&race, random).await });
            }
            Role::Private => {
                actors.writers.spawn(async move { decider::private(&race, writer, random).await });
            }
            Role::Unconditional => {
                actors.writers.spawn(async move { unconditional::run(&race, random).await });
            }
        }
    }
    if assignment.protocol == ProtocolName::Eddyline {
        for (number, extra) in EXTRAS.into_iter().enumerate().filter(|(number, _)| own(*number)) {
            let (race, random) =
                (Arc::clone(race), random(assignment.writers + MOST_READERS + number));
            match extra {
                Extra::SingleStore => {
                    let single_store = single_store::connect(&assignment.addresses).await?;
                    actors.writers.spawn(async move { single_store.run(&race, random).await });
                }
                Extra::FreshStores => {
                    let assignment = assignment.clone();
                    actors
                        .writers
                        .spawn(async move { decider::fresh(&race, &assignment, random).await });
                }
                Extra::Importer => {
                    actors.writers.spawn(async move { importer::run(&race, random).await });
                }
            }
        }
    }
    let readers = TailMethod::ALL
        .into_iter()
        .flat_map(|method| assignment.addresses.servers().into_iter().map(move |it| (method, it)));
    for (number, (method, server)) in readers.enumerate().filter(|(number, _)| own(*number)) {
        let (race, random) = (Arc::clone(race), random(assignment.writers + number));
        let reader = tail::connect(assignment, method, server).await?;
        actors.readers.spawn(async move { reader.run(&race, random).await });
    }
    Ok(actors)
}

/// The roles of the writers, in rotation. The first six cover every role.
const ROLES: [Role; 10] = [
    Role::Decider,
    Role::Unconditional,
    Role::Inserter,
    Role::Private,
    Role::StoreDecider(DecidePolicy::Optimistic),
    Role::StoreDecider(DecidePolicy::Escalating),
    Role::Decider,
    Role::StoreDecider(DecidePolicy::Optimistic),
    Role::StoreDecider(DecidePolicy::Escalating),
    Role::Decider,
];

/// Actors of which a race of the store has one each, in addition to the writers.
#[derive(Clone, Copy, Debug)]
enum Extra {
    SingleStore,
    FreshStores,
    Importer,
}

const EXTRAS: [Extra; 3] = [Extra::SingleStore, Extra::FreshStores, Extra::Importer];

/// An upper bound of the number of tailing readers. It separates the random seeds of the readers
/// from those of the extra actors.
const MOST_READERS: usize = 100;

/// The fewest writers that cover every role.
pub const FEWEST_WRITERS: usize = 6;

/// The most connections to a server, for all processes together.
const MOST_CONNECTIONS: usize = 200;

/// The number of consecutive errors that an actor tolerates.
const MOST_ERRORS: u32 = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fewest_writers_cover_every_role() {
        let roles = &ROLES[..FEWEST_WRITERS];

        for role in ROLES {
            assert!(roles.contains(&role));
        }
    }
}

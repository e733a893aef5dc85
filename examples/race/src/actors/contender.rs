//! Writers who leave it to the store to decide again, with the log's lock or without.

use std::sync::{Mutex, PoisonError};

use eddyline::Decided;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

use super::{Race, Trouble, decider};
use crate::boundary::{Boundary, FilterKind, OLD};
use crate::event::{Decision, NewEvent, ids};
use crate::fact::{Conflict, Ending, Fact, Immunity};
use crate::failure::Failure;
use crate::kind::Kind;
use crate::protocol::{Broken, EventStore, Protocol, Stop, Tenacity};

/// Decides on the shared boundaries; a protocol that cannot decide again has a plain decider.
///
/// Half of the decisions meet at one filter, where those of a process take turns.
pub async fn run(
    race: &Race,
    tenacity: Tenacity,
    writer: usize,
    mut random: SmallRng,
) -> Result<(), Failure> {
    let Protocol::Store(store) = &race.protocol else {
        return decider::shared(race, writer, random).await;
    };
    race.wait_for_start().await;
    let mut trouble = Trouble::default();
    for turn in writer.. {
        if !race.is_on() {
            break;
        }
        let (boundary, kind) = if random.random() {
            (race.boundaries.hottest(), FilterKind::Ids)
        } else {
            (race.boundaries.any(&mut random), FilterKind::ALL[turn % FilterKind::ALL.len()])
        };
        let contender = Contender { race, store, tenacity, boundary, kind };
        contender.decide(&mut random, &mut trouble).await?;
    }
    Ok(())
}

struct Contender<'a> {
    race: &'a Race,
    store: &'a EventStore,
    tenacity: Tenacity,
    boundary: Boundary,
    kind: FilterKind,
}

/// What was decided in a round, and from what.
struct Round {
    decision: Decision,
    ids: Vec<Uuid>,
}

impl Contender<'_> {
    async fn decide(&self, random: &mut SmallRng, trouble: &mut Trouble) -> Result<(), Failure> {
        let filter = self.boundary.filter(self.kind);
        let notes = Mutex::new((SmallRng::from_rng(random), Vec::new()));
        let decided = self.store.decide(self.tenacity, &filter, |count, read_at| {
            let (random, rounds) = &mut *notes.lock().unwrap_or_else(PoisonError::into_inner);
            let decision = Decision { filter: filter.clone(), since: 0, count, read_at };
            let (round, events) = self.choose(decision, random)?;
            rounds.push(round);
            Some(events)
        });
        let decided = self.race.wait(decided, random).await;
        let (_, rounds) = notes.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.tell(rounds, decided, trouble).await
    }

    /// Chooses what to append, now and then nothing; there is no choice where the boundary is old.
    fn choose(&self, decision: Decision, random: &mut SmallRng) -> Option<(Round, Vec<NewEvent>)> {
        if decision.count >= OLD {
            return None;
        }
        let events = if random.random_ratio(1, 8) {
            Vec::new()
        } else {
            decider::events(&self.boundary, self.kind, decision.clone(), random)
        };
        Some((Round { decision, ids: ids(&events) }, events))
    }

    /// Tells what became of the last round; of those before it nothing may be in the log.
    async fn tell(
        &self,
        mut rounds: Vec<Round>,
        decided: Option<Result<Decided, Stop>>,
        trouble: &mut Trouble,
    ) -> Result<(), Failure> {
        self.tell_of_losses(&rounds, decided.as_ref()).await;
        let count = rounds.len();
        let last = rounds.pop();
        for Round { ids, .. } in rounds {
            self.race.tell(Fact::Refused { ids, fault: None }).await;
        }
        let in_doubt = decided.is_none();
        match (decided, last) {
            (Some(Ok(decided)), Some(last)) => {
                trouble.is_over();
                self.accepted(last, &decided).await;
            }
            (Some(Err(Stop::Conflict(broken))), Some(last)) => {
                trouble.is_over();
                self.refused(last, count, broken).await;
            }
            (Some(Ok(_) | Err(Stop::Conflict(_))), None) => {
                let fault = "a decision was answered that nobody took".to_owned();
                trouble.met(self.race, Vec::new(), fault).await?;
            }
            (Some(Err(Stop::Old)), last) => {
                self.race.boundaries.retire(&self.boundary);
                self.race.tell(Fact::Refused { ids: ids_of(last), fault: None }).await;
            }
            (Some(Err(Stop::Refused(fault))), last) => {
                trouble.met(self.race, ids_of(last), fault).await?;
            }
            (None | Some(Err(Stop::Unknown(_))), last) => {
                if in_doubt {
                    self.race.count(Kind::Left(Ending::Abandoned));
                }
                self.race.tell(Fact::Doubtful { ids: ids_of(last) }).await;
            }
        }
        Ok(())
    }

    /// Tells of the rounds that the store lost before a decision stood. Where it never paused, each
    /// of them was lost to an event, which the round after it has seen.
    async fn tell_of_losses(&self, rounds: &[Round], decided: Option<&Result<Decided, Stop>>) {
        if !decided.is_some_and(|it| it.as_ref().is_ok_and(|it| it.delay().is_zero())) {
            return;
        }
        for (lost, pair) in rounds.windows(2).enumerate() {
            let [Round { decision, .. }, next] = pair else { continue };
            let conflict = Conflict {
                filter: decision.filter.clone(),
                read_at: decision.read_at,
                after: decision.read_at,
                event: None,
                head: Some(next.decision.read_at),
                immunity: self.immunity(lost),
            };
            self.race.tell(Fact::Conflict(conflict)).await;
        }
    }

    async fn accepted(&self, Round { decision, ids }: Round, decided: &Decided) {
        let Some(appended) = decided.appended() else {
            let locked = decided.is_escalated();
            let ending = if locked { Ending::NothingLocked } else { Ending::Nothing };
            self.race.count(Kind::Left(ending));
            // Where it is said to be true counts, rather than what the history said.
            let read_at = decided.position().value();
            self.race.tell(Fact::DecidedNothing(Decision { read_at, ..decision })).await;
            return;
        };
        self.race.count(Kind::Left(match decided.attempts() {
            _ if decided.is_escalated() => Ending::Locked,
            1 => Ending::AtOnce,
            _ => Ending::Later,
        }));
        let (first, last) = (appended.first().value(), decided.position().value());
        self.race.tell(Fact::Accepted { ids, first, last }).await;
    }

    /// Tells of the conflict that ended the last of so many rounds.
    async fn refused(&self, Round { decision, ids }: Round, rounds: usize, broken: Broken) {
        self.race.count(Kind::Left(Ending::Lost));
        let Decision { filter, read_at, .. } = decision;
        let Broken { after, event, head } = broken;
        // A fault can stand for a lost round, but hardly for every one.
        let all_lost = rounds == self.tenacity.attempts() as usize;
        let immunity = if all_lost { self.immunity(rounds - 1) } else { None };
        let conflict = Conflict { filter, read_at, after, event, head, immunity };
        self.race.tell(Fact::Conflict(conflict)).await;
        self.race.tell(Fact::Refused { ids, fault: None }).await;
    }

    /// Says whether a round that follows so many lost ones could be lost. One under the log's lock could
    /// not: if its process was stopped for so long that the server took the lock from it, it is told so.
    fn immunity(&self, lost: usize) -> Option<Immunity> {
        let locked = self.tenacity.escalates_after().is_some_and(|after| lost >= after as usize);
        locked.then_some(Immunity::Locked)
    }
}

fn ids_of(round: Option<Round>) -> Vec<Uuid> {
    round.map(|round| round.ids).unwrap_or_default()
}

//! Writers that call the store's `decide`, which repeats a decision after conflicts, with or
//! without the log's lock.

use std::sync::{Mutex, PoisonError};

use eddyline::Decided;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

use super::{ConsecutiveErrors, Race, decider};
use crate::boundary::{Boundary, FULL, FilterKind};
use crate::event::{Decision, NewEvent, ids};
use crate::failure::Failure;
use crate::kind::Kind;
use crate::message::{Conflict, Ending, Exclusivity, Message};
use crate::protocol::{DecideError, DecidePolicy, EventStore, Protocol, ReportedConflict};

/// Decides on the shared boundaries. A protocol without `decide` gets a plain decider instead.
///
/// Half of the decisions use the same filter; the store runs these one after the other within a
/// process.
pub async fn run(
    race: &Race,
    policy: DecidePolicy,
    writer: usize,
    mut random: SmallRng,
) -> Result<(), Failure> {
    let Protocol::Store(store) = &race.protocol else {
        return decider::shared(race, writer, random).await;
    };
    race.wait_for_start().await;
    let mut errors = ConsecutiveErrors::default();
    for index in writer.. {
        if !race.is_on() {
            break;
        }
        let (boundary, kind) = if random.random() {
            (race.boundaries.hottest(), FilterKind::Ids)
        } else {
            (race.boundaries.any(&mut random), FilterKind::ALL[index % FilterKind::ALL.len()])
        };
        let decider = StoreDecider { race, store, policy, boundary, kind };
        decider.decide(&mut random, &mut errors).await?;
    }
    Ok(())
}

struct StoreDecider<'a> {
    race: &'a Race,
    store: &'a EventStore,
    policy: DecidePolicy,
    boundary: Boundary,
    kind: FilterKind,
}

/// An attempt of a decision: what it read, and the events that it chose.
struct Attempt {
    decision: Decision,
    ids: Vec<Uuid>,
}

impl StoreDecider<'_> {
    async fn decide(
        &self,
        random: &mut SmallRng,
        errors: &mut ConsecutiveErrors,
    ) -> Result<(), Failure> {
        let filter = self.boundary.filter(self.kind);
        let state = Mutex::new((SmallRng::from_rng(random), Vec::new()));
        let decided = self.store.decide(self.policy, &filter, |count, read_at| {
            let (random, attempts) = &mut *state.lock().unwrap_or_else(PoisonError::into_inner);
            let decision = Decision { filter: filter.clone(), since: 0, count, read_at };
            let (attempt, events) = self.choose(decision, random)?;
            attempts.push(attempt);
            Some(events)
        });
        let decided = self.race.wait_or_abandon(decided, random).await;
        let (_, attempts) = state.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.report(attempts, decided, errors).await
    }

    /// Chooses the events to append, occasionally none. Returns `None` if the boundary is full.
    fn choose(
        &self,
        decision: Decision,
        random: &mut SmallRng,
    ) -> Option<(Attempt, Vec<NewEvent>)> {
        if decision.count >= FULL {
            return None;
        }
        let events = if random.random_ratio(1, 8) {
            Vec::new()
        } else {
            decider::events(&self.boundary, self.kind, decision.clone(), random)
        };
        Some((Attempt { decision, ids: ids(&events) }, events))
    }

    /// Reports the outcome of the last attempt. The events of earlier attempts must not be in the
    /// log.
    async fn report(
        &self,
        mut attempts: Vec<Attempt>,
        decided: Option<Result<Decided, DecideError>>,
        errors: &mut ConsecutiveErrors,
    ) -> Result<(), Failure> {
        self.send_conflicts(&attempts, decided.as_ref()).await;
        let count = attempts.len();
        let last = attempts.pop();
        for Attempt { ids, .. } in attempts {
            self.race.send(Message::Refused { ids, error: None }).await;
        }
        let is_abandoned = decided.is_none();
        match (decided, last) {
            (Some(Ok(decided)), Some(last)) => {
                errors.reset();
                self.accepted(last, &decided).await;
            }
            (Some(Err(DecideError::Conflict(reported))), Some(last)) => {
                errors.reset();
                self.refused(last, count, reported).await;
            }
            (Some(Ok(_) | Err(DecideError::Conflict(_))), None) => {
                let error = "the store answered a decision without calling the closure".to_owned();
                errors.add(self.race, Vec::new(), error).await?;
            }
            (Some(Err(DecideError::BoundaryFull)), last) => {
                self.race.boundaries.replace(&self.boundary);
                self.race.send(Message::Refused { ids: ids_of(last), error: None }).await;
            }
            (Some(Err(DecideError::Refused(error))), last) => {
                errors.add(self.race, ids_of(last), error).await?;
            }
            (None | Some(Err(DecideError::Unknown(_))), last) => {
                if is_abandoned {
                    self.race.count(Kind::StoreDecision(Ending::Abandoned));
                }
                self.race.send(Message::Unknown { ids: ids_of(last) }).await;
            }
        }
        Ok(())
    }

    /// Reports the conflicts of the attempts before an accepted one. If the store never paused,
    /// there were no other errors, so each of these attempts conflicted with an event that the next
    /// attempt has read.
    async fn send_conflicts(
        &self,
        attempts: &[Attempt],
        decided: Option<&Result<Decided, DecideError>>,
    ) {
        if !decided.is_some_and(|it| it.as_ref().is_ok_and(|it| it.delay().is_zero())) {
            return;
        }
        for (earlier, pair) in attempts.windows(2).enumerate() {
            let [Attempt { decision, .. }, next] = pair else { continue };
            let conflict = Conflict {
                filter: decision.filter.clone(),
                read_at: decision.read_at,
                after: decision.read_at,
                event: None,
                head: Some(next.decision.read_at),
                exclusivity: self.exclusivity(earlier),
            };
            self.race.send(Message::Conflict(conflict)).await;
        }
    }

    async fn accepted(&self, Attempt { decision, ids }: Attempt, decided: &Decided) {
        let Some(appended) = decided.appended() else {
            let locked = decided.is_escalated();
            let ending = if locked { Ending::NothingLocked } else { Ending::Nothing };
            self.race.count(Kind::StoreDecision(ending));
            // The position of the answer counts here, rather than that of the history.
            let read_at = decided.position().value();
            self.race.send(Message::DecidedNothing(Decision { read_at, ..decision })).await;
            return;
        };
        self.race.count(Kind::StoreDecision(match decided.attempts() {
            _ if decided.is_escalated() => Ending::Locked,
            1 => Ending::FirstAttempt,
            _ => Ending::LaterAttempt,
        }));
        let (first, last) = (appended.first().value(), decided.position().value());
        self.race.send(Message::Accepted { ids, first, last }).await;
    }

    /// Reports the conflict that ended the last of all attempts.
    async fn refused(
        &self,
        Attempt { decision, ids }: Attempt,
        attempts: usize,
        reported: ReportedConflict,
    ) {
        self.race.count(Kind::StoreDecision(Ending::Conflict));
        let Decision { filter, read_at, .. } = decision;
        let ReportedConflict { after, event, head } = reported;
        // Another error can replace the conflict of one attempt, but hardly those of all attempts.
        let all_conflicted = attempts == self.policy.attempts() as usize;
        let exclusivity = if all_conflicted { self.exclusivity(attempts - 1) } else { None };
        let conflict = Conflict { filter, read_at, after, event, head, exclusivity };
        self.race.send(Message::Conflict(conflict)).await;
        self.race.send(Message::Refused { ids, error: None }).await;
    }

    /// Returns why an attempt after `earlier` others could not conflict, if there is a reason. An
    /// attempt under the log's lock cannot conflict: if its process was stopped for so long that
    /// the server ended the transaction, the attempt fails with another error.
    fn exclusivity(&self, earlier: usize) -> Option<Exclusivity> {
        let locked = self.policy.escalates_after().is_some_and(|after| earlier >= after as usize);
        locked.then_some(Exclusivity::Locked)
    }
}

fn ids_of(attempt: Option<Attempt>) -> Vec<Uuid> {
    attempt.map(|attempt| attempt.ids).unwrap_or_default()
}

use std::time::Duration;

use super::queue::Member;
use super::work::Work;
use crate::pool::Lease;
use crate::store::transact::outcome_unknown;
use crate::{Class, Error};

impl Work<'_> {
    /// Takes apart what failed together, so that only the one fails whose fault it is: the one that
    /// was asked at this place, or one of those that were judged.
    pub(super) fn part(
        &mut self,
        judged: Vec<Member>,
        mut asked: Vec<Member>,
        place: Option<usize>,
        error: Error,
    ) {
        if judged.len() + asked.len() == 1 || !is_of_one(&error) {
            return self.fail(judged.into_iter().chain(asked).collect(), error, None);
        }
        let (innocent, suspects) = match place {
            Some(place) => {
                let suspect = asked.remove(place);
                (judged.into_iter().chain(asked).collect(), vec![suspect])
            }
            None => (asked, judged),
        };
        self.leave(innocent);
        self.leave_in_halves(suspects);
    }

    /// Answers those whose failure it is, and leaves the others to be tried apart.
    pub(super) fn fail(&mut self, members: Vec<Member>, error: Error, for_lock: Option<Duration>) {
        if error.is_outcome_unknown() {
            self.seat.recent.forget();
        }
        let found_locked = error.sqlstate().is_some_and(|code| code.as_str() == "55P03");
        if found_locked && for_lock.is_some() {
            // Others of them may wait for longer than the one who may least.
            let (spent, patient): (Vec<_>, Vec<_>) = members.into_iter().partition(|member| {
                member.limit.lock_timeout(self.appender.lock_timeout).is_some()
            });
            self.leave(patient);
            return tell(&self.seat.lease, spent, &error);
        }
        if members.len() > 1 && !found_locked && is_of_one(&error) {
            return self.leave_in_halves(members);
        }
        tell(&self.seat.lease, members, &error);
    }

    pub(super) fn leave(&mut self, members: Vec<Member>) {
        if !members.is_empty() {
            self.left.push(members);
        }
    }

    pub(super) fn leave_in_halves(&mut self, mut members: Vec<Member>) {
        let second = members.split_off(members.len().div_ceil(2));
        self.leave(second);
        self.leave(members);
    }
}

/// Returns whether a failure may be that of one attempt only, and not of all that went with it.
fn is_of_one(error: &Error) -> bool {
    match error {
        Error::Database { class, sqlstate, .. } => {
            *class != Class::Canceled && !sqlstate.as_str().starts_with("53")
        }
        _ => false,
    }
}

/// Tells attempts how they failed; an unknown outcome is that of each one's own events.
fn tell(lease: &Lease, members: Vec<Member>, error: &Error) {
    for member in members {
        let error = match error {
            Error::OutcomeUnknown { source, .. } => {
                outcome_unknown(lease.server(), &member.request.events, source.clone())
            }
            error => error.clone(),
        };
        member.answer(Err(error));
    }
}

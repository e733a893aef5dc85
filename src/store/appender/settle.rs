use super::connection::Seen;
use super::plan::{Batch, Validation};
use super::queue::PendingAppend;
use crate::error::Reason;
use crate::sql::BatchAnswer;
use crate::store::failure::{AppendFailure, is_lock_timeout, may_follow_commit, with_event_ids};
use crate::store::outcome::AppendOutcome;
use crate::{Bookmark, Class, Error};

/// The consequences of the answer to a batch, or of its failure.
#[derive(Default)]
pub(super) struct Settlement {
    pub(super) replies: Vec<(PendingAppend, Result<AppendOutcome, Error>)>,
    /// The requests to send again, each group as a batch. The last group is sent first.
    pub(super) requeued: Vec<Vec<PendingAppend>>,
}

/// Settles a batch that the server has answered, and records the appended events in the tail.
pub(super) fn settle(batch: Batch, answer: &BatchAnswer, seen: &mut Seen) -> Settlement {
    if answer.numbers.is_empty() && answer.broken.is_empty() {
        return settle_unmet_precondition(batch, answer.head, seen);
    }
    seen.record_head(answer.head);
    // Lemma 3: the missing number may belong to an event of a trigger, which the tail would lack.
    let has_gap = answer.has_gap();
    if has_gap {
        seen.tail.clear();
    }
    let mut settlement = Settlement::default();
    let mut numbers = answer.numbers.iter().copied();
    for (index, pending) in batch.requests.into_iter().enumerate() {
        let broken = answer.broken.iter().find(|(request, _)| *request == index);
        if let Some(&(_, event)) = broken {
            settlement.replies.push((pending, Ok(AppendOutcome::ConditionBroken { event })));
            continue;
        }
        let request = &pending.request;
        let positions: Vec<_> = numbers.by_ref().take(request.events.len()).collect();
        for (index, &position) in positions.iter().enumerate() {
            seen.tail.add(position, &request.events, index, request.terms(index));
        }
        if let (Some(&first), Some(&last)) = (positions.first(), positions.last()) {
            let last = answer.head.at(last);
            settlement.replies.push((pending, Ok(AppendOutcome::Appended { first, last })));
        }
    }
    settlement
}

/// Settles a batch of which the server appended nothing, without an error: the head is not the
/// expected one, or a validated position is of another epoch, or lies above the head or too far
/// below it.
fn settle_unmet_precondition(batch: Batch, head: Bookmark, seen: &mut Seen) -> Settlement {
    let mut settlement = Settlement::default();
    if batch.validation != Validation::Server {
        seen.record_unexpected(head);
        settlement.requeue(batch.requests);
        return settlement;
    }
    // The cause is the position that is of another epoch or above the head, if there is one, or
    // else the lowest one.
    let validated =
        |one: &PendingAppend| one.request.condition().is_some().then_some(one.request.validated);
    let unmet = |one: &PendingAppend| AppendOutcome::of_unmet(head, validated(one)?);
    let has_cause = batch.requests.iter().any(|one| unmet(one).is_some());
    let positions = batch.requests.iter().filter_map(validated).map(Bookmark::position);
    let lowest = positions.min();
    let max_newer = batch.probe().max_newer_events().unsigned_abs();
    // The server counts events, and this code positions, which may have gaps. So the lowest one may
    // be too old by the server's count alone.
    let is_too_old = |one: &PendingAppend| {
        validated(one).map(Bookmark::position).is_some_and(|validated| {
            Some(validated) == lowest || head.position().value() - validated.value() > max_newer
        })
    };
    let mut others = Vec::new();
    for pending in batch.requests {
        match unmet(&pending) {
            Some(outcome) => settlement.replies.push((pending, Ok(outcome))),
            None if !has_cause && is_too_old(&pending) => {
                settlement.replies.push((pending, Ok(AppendOutcome::ConditionTooOld)));
            }
            None => others.push(pending),
        }
    }
    settlement.requeue(others);
    settlement
}

/// Settles a batch that was not sent, or was answered with an error or not at all. It may have been
/// appended.
///
/// `may_wait_longer` returns whether a request may wait for the log's lock for longer than its
/// batch did, because the batch's lock timeout was shortened for another request.
pub(super) fn settle_failure(
    batch: Batch,
    failure: AppendFailure,
    may_wait_longer: impl Fn(&PendingAppend) -> bool,
) -> Settlement {
    let mut settlement = Settlement::default();
    let mut requests = batch.requests;
    let error = match failure {
        AppendFailure::IdTaken if requests.len() == 1 => {
            for pending in requests {
                let may_be_own = pending.may_have_committed;
                settlement.replies.push((pending, Ok(AppendOutcome::IdTaken { may_be_own })));
            }
            return settlement;
        }
        AppendFailure::IdTaken => {
            settlement.bisect(requests);
            return settlement;
        }
        AppendFailure::Error(error) => error,
    };
    if is_lock_timeout(&error) {
        let (waiting, expired): (Vec<_>, Vec<_>) = requests.into_iter().partition(may_wait_longer);
        settlement.requeue(waiting);
        settlement.reply_error(expired, &error);
    } else if requests.len() > 1 && may_concern_one_request(&error) {
        let may_have_committed = may_follow_commit(&error);
        for pending in &mut requests {
            pending.may_have_committed |= may_have_committed;
        }
        settlement.bisect(requests);
    } else {
        settlement.reply_error(requests, &error);
    }
    settlement
}

impl Settlement {
    fn requeue(&mut self, requests: Vec<PendingAppend>) {
        if !requests.is_empty() {
            self.requeued.push(requests);
        }
    }

    /// Requeues each half of a batch as a batch, the first half to be sent first. In the end only
    /// the request fails that causes the failure.
    fn bisect(&mut self, mut requests: Vec<PendingAppend>) {
        let second_half = requests.split_off(requests.len().div_ceil(2));
        self.requeue(second_half);
        self.requeue(requests);
    }

    /// Replies to requests with an error, which names each request's own events.
    fn reply_error(&mut self, requests: Vec<PendingAppend>, error: &Error) {
        for pending in requests {
            let error = with_event_ids(error.clone(), &pending.request.events);
            self.replies.push((pending, Err(error)));
        }
    }
}

/// Returns whether one request alone may have caused the failure of its batch: by its data (for
/// instance SQLSTATE 22P05 or 23514), by an error of a trigger (P0001), or by the time that it took
/// (57014 after the statement timeout).
///
/// Not if the server lacks resources (53), if a right or an object is missing (42501, 42P01), if
/// the batch was canceled from outside (57014 before the timeout), or if the connection was lost.
fn may_concern_one_request(error: &Error) -> bool {
    match error {
        Error::Database { class, sqlstate, .. } => {
            let concerns_all = matches!(
                class,
                Class::Canceled | Class::Permanent(Reason::Permission | Reason::Schema)
            );
            !concerns_all && !sqlstate.as_str().starts_with("53")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::batch_contents::BatchContents;
    use super::*;
    use crate::bookmark::Epoch;
    use crate::{AppendCondition, Event, Filter, SequenceNumber};

    /// Creates a batch of `requests` requests, each with a key and a position of its own.
    fn batch(requests: u64) -> Batch {
        let requests = (1..=requests).map(|position| {
            let event = Event::from_json("BookCopyLentToReader", "{}").unwrap();
            let filter = Filter::any_of([(format!("key-{position}"), 1)]).build().unwrap();
            let condition = AppendCondition::no_match_after(filter, SequenceNumber::new(position));
            PendingAppend::of([event], condition)
        });
        let (requests, contents) = (requests.collect(), BatchContents::default());
        Batch { requests, number: 1, validation: Validation::Server, contents }
    }

    fn settle_empty_answer(batch: Batch, head: u64) -> Settlement {
        let head = Bookmark::new(SequenceNumber::new(head), Epoch::new(Uuid::from_u128(7)));
        let answer = BatchAnswer { head, numbers: Vec::new(), broken: Vec::new() };
        settle(batch, &answer, &mut Seen::default())
    }

    #[test]
    fn all_conditions_too_far_below_the_head_are_settled_at_once() {
        let most = batch(32).probe().max_newer_events().unsigned_abs();
        assert_eq!(most, 2_048);

        let settlement = settle_empty_answer(batch(32), most + 10);

        let too_old = |(_, outcome): &(_, _)| matches!(outcome, Ok(AppendOutcome::ConditionTooOld));
        assert!(settlement.replies.len() == 9 && settlement.replies.iter().all(too_old));
        assert_eq!(settlement.requeued[0].len(), 23);
    }

    #[test]
    fn if_positions_are_of_another_epoch_only_these_are_settled() {
        let mut batch = batch(32);
        for pending in &mut batch.requests[..3] {
            let epoch = Epoch::new(Uuid::from_u128(8));
            pending.request.validated = Bookmark::new(SequenceNumber::new(1), epoch);
        }

        let settlement = settle_empty_answer(batch, 40);

        let ended = |(_, outcome): &(_, _)| matches!(outcome, Ok(AppendOutcome::EpochEnded));
        assert!(settlement.replies.len() == 3 && settlement.replies.iter().all(ended));
        assert_eq!(settlement.requeued[0].len(), 29);
    }

    #[test]
    fn if_conditions_lie_above_the_head_only_these_are_settled() {
        let settlement = settle_empty_answer(batch(32), 30);

        let ahead =
            |(_, outcome): &(_, _)| matches!(outcome, Ok(AppendOutcome::PositionAhead { .. }));
        assert!(settlement.replies.len() == 2 && settlement.replies.iter().all(ahead));
        assert_eq!(settlement.requeued[0].len(), 30);
    }
}

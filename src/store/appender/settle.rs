use std::time::Duration;

use super::connection::Seen;
use super::execute::BatchFailure;
use super::plan::{Batch, Validation};
use super::queue::PendingAppend;
use crate::error::Reason;
use crate::sql::BatchAnswer;
use crate::store::failure::{follows_commit, is_lock_timeout, with_event_ids};
use crate::store::outcome::AppendOutcome;
use crate::{Class, Error, SequenceNumber};

/// The consequences of the answer to a batch: replies, and attempts to send again.
#[derive(Default)]
pub(super) struct Settlement {
    pub(super) replies: Vec<(PendingAppend, Result<AppendOutcome, Error>)>,
    /// The attempts to send again, each group as a batch. The last group is the first to be sent.
    pub(super) requeued: Vec<Vec<PendingAppend>>,
}

/// Settles a batch that the server has answered, and records the appended events in the tail.
pub(super) fn settle(batch: Batch, answer: &BatchAnswer, seen: &mut Seen) -> Settlement {
    if answer.numbers.is_empty() && answer.broken.is_empty() {
        return settle_refused(batch, answer, seen);
    }
    seen.record_head(answer.head);
    let mut settlement = Settlement::default();
    let mut numbers = answer.numbers.iter().copied();
    let has_gap = answer.has_gap();
    for (index, pending) in batch.attempts.into_iter().enumerate() {
        let broken = answer.broken.iter().find(|(attempt, _)| *attempt == index);
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
            settlement.replies.push((pending, Ok(AppendOutcome::Appended { first, last })));
        }
    }
    // Lemma 3: the missing number may belong to an event of a trigger, which is not in the tail.
    if has_gap {
        seen.tail.clear();
    }
    settlement
}

/// Settles a batch whose precondition did not hold.
fn settle_refused(batch: Batch, answer: &BatchAnswer, seen: &mut Seen) -> Settlement {
    let head = answer.head;
    let mut settlement = Settlement::default();
    if batch.validation != Validation::Server {
        seen.record_unexpected(head);
        settlement.requeue(batch.attempts);
        return settlement;
    }
    // The server refuses a batch for its highest position, if that lies above the head, or else for
    // its lowest position.
    let position =
        |one: &PendingAppend| one.request.guard().is_some().then_some(one.request.validated);
    let highest = batch.attempts.iter().filter_map(position).max();
    let lowest = batch.attempts.iter().filter_map(position).min();
    let is_ahead = highest > Some(head);
    let most = batch.probe().max_newer_events();
    let mut others = Vec::new();
    for pending in batch.attempts {
        match position(&pending) {
            Some(position) if position > head => {
                settlement.replies.push((pending, Ok(AppendOutcome::PositionAhead { head })));
            }
            Some(position) if !is_ahead && is_too_old(position, head, lowest, most) => {
                settlement.replies.push((pending, Ok(AppendOutcome::ConditionTooOld)));
            }
            _ => others.push(pending),
        }
    }
    settlement.requeue(others);
    settlement
}

/// Returns whether a position lies too far below the head, in a batch that the server refused for
/// its lowest position.
fn is_too_old(
    position: SequenceNumber,
    head: SequenceNumber,
    lowest: Option<SequenceNumber>,
    most: i64,
) -> bool {
    let newer = head.value() - position.value();
    Some(position) == lowest || newer > most.unsigned_abs()
}

/// Settles a batch that was not appended.
///
/// `lock_timeout` is the batch's lock timeout, if that is shorter than the setting.
/// `may_wait_longer` returns whether an attempt may wait as long as the setting.
pub(super) fn settle_failure(
    batch: Batch,
    failure: BatchFailure,
    lock_timeout: Option<Duration>,
    may_wait_longer: impl Fn(&PendingAppend) -> bool,
) -> Settlement {
    let mut settlement = Settlement::default();
    let mut attempts = batch.attempts;
    let error = match failure {
        BatchFailure::IdTaken if attempts.len() == 1 => {
            for pending in attempts {
                let may_be_own = pending.may_be_stored;
                settlement.replies.push((pending, Ok(AppendOutcome::IdTaken { may_be_own })));
            }
            return settlement;
        }
        BatchFailure::IdTaken => {
            settlement.bisect(attempts);
            return settlement;
        }
        BatchFailure::Error(error) => error,
    };
    let is_lock_timeout = is_lock_timeout(&error);
    if is_lock_timeout && lock_timeout.is_some() {
        // The batch waited no longer than the attempt with the shortest lock timeout may.
        let (waiting, expired): (Vec<_>, Vec<_>) = attempts.into_iter().partition(may_wait_longer);
        settlement.requeue(waiting);
        settlement.reply_error(expired, &error);
    } else if attempts.len() > 1 && !is_lock_timeout && may_concern_one_attempt(&error) {
        let may_be_stored = follows_commit(&error);
        for pending in &mut attempts {
            pending.may_be_stored |= may_be_stored;
        }
        settlement.bisect(attempts);
    } else {
        settlement.reply_error(attempts, &error);
    }
    settlement
}

impl Settlement {
    fn requeue(&mut self, attempts: Vec<PendingAppend>) {
        if !attempts.is_empty() {
            self.requeued.push(attempts);
        }
    }

    /// Requeues each half of a batch as a batch, so that in the end only the attempt fails that
    /// causes the failure.
    fn bisect(&mut self, mut attempts: Vec<PendingAppend>) {
        let second = attempts.split_off(attempts.len().div_ceil(2));
        self.requeue(second);
        self.requeue(attempts);
    }

    /// Replies to attempts with an error, which names each attempt's own events.
    fn reply_error(&mut self, attempts: Vec<PendingAppend>, error: &Error) {
        for pending in attempts {
            let error = with_event_ids(error.clone(), &pending.request.events);
            self.replies.push((pending, Err(error)));
        }
    }
}

/// Returns whether one attempt alone may have caused the failure of its batch.
fn may_concern_one_attempt(error: &Error) -> bool {
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
    use super::super::batch_contents::BatchContents;
    use super::*;
    use crate::{AppendCondition, Event, Filter};

    /// Creates a batch of `attempts` attempts, each with a key and a position of its own.
    fn batch(attempts: u64) -> Batch {
        let attempts = (1..=attempts).map(|position| {
            let event = Event::from_json("BookCopyLentToReader", "{}").unwrap();
            let filter = Filter::any_of([(format!("key-{position}"), 1)]).build().unwrap();
            let condition = AppendCondition::no_match_after(filter, SequenceNumber::new(position));
            PendingAppend::of([event], condition)
        });
        let (attempts, contents) = (attempts.collect(), BatchContents::default());
        Batch { attempts, number: 1, validation: Validation::Server, contents }
    }

    fn settle_refusal(batch: Batch, head: u64) -> Settlement {
        let head = SequenceNumber::new(head);
        let answer = BatchAnswer { head, numbers: Vec::new(), broken: Vec::new() };
        settle(batch, &answer, &mut Seen::default())
    }

    #[test]
    fn all_conditions_too_far_below_the_head_are_settled_at_once() {
        let most = batch(32).probe().max_newer_events().unsigned_abs();
        assert_eq!(most, 2_048);

        let settlement = settle_refusal(batch(32), most + 10);

        let too_old = |(_, outcome): &(_, _)| matches!(outcome, Ok(AppendOutcome::ConditionTooOld));
        assert!(settlement.replies.len() == 9 && settlement.replies.iter().all(too_old));
        assert_eq!(settlement.requeued[0].len(), 23);
    }

    #[test]
    fn if_conditions_lie_above_the_head_only_these_are_settled() {
        let settlement = settle_refusal(batch(32), 30);

        let ahead =
            |(_, outcome): &(_, _)| matches!(outcome, Ok(AppendOutcome::PositionAhead { .. }));
        assert!(settlement.replies.len() == 2 && settlement.replies.iter().all(ahead));
        assert_eq!(settlement.requeued[0].len(), 30);
    }
}

use std::time::Duration;

use super::connection::Seen;
use super::plan::{Batch, Validation};
use super::queue::PendingAppend;
use crate::error::Reason;
use crate::server::Server;
use crate::sql::BatchAnswer;
use crate::store::failure::{follows_commit, outcome_unknown};
use crate::store::outcome::AppendOutcome;
use crate::{Class, Error, SequenceNumber};

/// What follows from the answer to a batch.
#[derive(Default)]
pub(super) struct Settlement {
    /// What each attempt came to.
    pub(super) replies: Vec<(PendingAppend, Result<AppendOutcome, Error>)>,
    /// The attempts to carry out again, each group as a batch of its own. The last group is the first.
    pub(super) requeue: Vec<Vec<PendingAppend>>,
}

/// Why a batch was not appended.
pub(super) enum BatchFailure {
    Error(Error),
    /// The log holds the id of an event of one of the attempts.
    IdTaken,
}

/// Settles a batch that the server has answered, and records what was appended.
pub(super) fn settle(batch: Batch, answer: &BatchAnswer, seen: &mut Seen) -> Settlement {
    if answer.numbers.is_empty() && answer.broken.is_empty() {
        return settle_refused(batch, answer, seen);
    }
    seen.record_head(answer.head);
    let mut settlement = Settlement::default();
    let mut numbers = answer.numbers.iter().copied();
    let has_gap = answer.has_gap();
    for (place, pending) in batch.attempts.into_iter().enumerate() {
        let broken = answer.broken.iter().find(|(attempt, _)| *attempt == place);
        if let Some(&(_, event)) = broken {
            settlement.replies.push((pending, Ok(AppendOutcome::Broken { event })));
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
    // A trigger of the owner's may have inserted an event there, which this process has not seen.
    if has_gap {
        seen.tail.forget();
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
    // A batch is refused for its highest position, if that lies above the head, or for its lowest.
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
            Some(position) if !is_ahead && is_behind(position, head, lowest, most) => {
                settlement.replies.push((pending, Ok(AppendOutcome::Behind)));
            }
            _ => others.push(pending),
        }
    }
    settlement.requeue(others);
    settlement
}

/// Returns whether a position lies too far below the head, if a batch was refused for its lowest one.
fn is_behind(
    position: SequenceNumber,
    head: SequenceNumber,
    lowest: Option<SequenceNumber>,
    most: i64,
) -> bool {
    let newer = head.value() - position.value();
    Some(position) == lowest || newer > most.unsigned_abs()
}

/// Settles a batch that was not appended. `lock_timeout` is how long it waited for the log's lock at
/// most, if that is less than the setting.
pub(super) fn settle_failure(
    server: &Server,
    batch: Batch,
    failure: BatchFailure,
    lock_timeout: Option<Duration>,
    has_full_wait: impl Fn(&PendingAppend) -> bool,
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
    let is_lock_timeout = error.sqlstate().is_some_and(|code| code.as_str() == "55P03");
    if is_lock_timeout && lock_timeout.is_some() {
        // The batch waited as long as the most impatient attempt may.
        let (patient, spent): (Vec<_>, Vec<_>) = attempts.into_iter().partition(has_full_wait);
        settlement.requeue(patient);
        settlement.reply_error(server, spent, &error);
    } else if attempts.len() > 1 && !is_lock_timeout && is_of_one(&error) {
        let may_be_stored = follows_commit(&error);
        for pending in &mut attempts {
            pending.may_be_stored |= may_be_stored;
        }
        settlement.bisect(attempts);
    } else {
        settlement.reply_error(server, attempts, &error);
    }
    settlement
}

impl Settlement {
    fn requeue(&mut self, attempts: Vec<PendingAppend>) {
        if !attempts.is_empty() {
            self.requeue.push(attempts);
        }
    }

    /// Carries out each half of a batch apart, so that in the end only the attempt fails whose fault it
    /// is.
    fn bisect(&mut self, mut attempts: Vec<PendingAppend>) {
        let second = attempts.split_off(attempts.len().div_ceil(2));
        self.requeue(second);
        self.requeue(attempts);
    }

    /// Replies with an error. An unknown outcome is that of each attempt's own events.
    fn reply_error(&mut self, server: &Server, attempts: Vec<PendingAppend>, error: &Error) {
        for pending in attempts {
            let error = match error {
                Error::OutcomeUnknown { source, .. } => {
                    outcome_unknown(server, &pending.request.events, source.clone())
                }
                error => error.clone(),
            };
            self.replies.push((pending, Err(error)));
        }
    }
}

/// Returns whether a failure may be that of one attempt only, and not of the whole batch.
fn is_of_one(error: &Error) -> bool {
    match error {
        Error::Database { class, sqlstate, .. } => {
            let is_of_log = matches!(
                class,
                Class::Canceled | Class::Permanent(Reason::Permission | Reason::Schema)
            );
            !is_of_log && !sqlstate.as_str().starts_with("53")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::BatchContents;
    use super::*;
    use crate::{AppendCondition, Event, Filter};

    /// A batch of as many attempts, each with a key and a position of its own.
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

    fn refused(batch: Batch, head: u64) -> Settlement {
        let head = SequenceNumber::new(head);
        let answer = BatchAnswer { head, numbers: Vec::new(), broken: Vec::new() };
        settle(batch, &answer, &mut Seen::default())
    }

    #[test]
    fn answers_at_once_all_that_lie_too_far_below_the_head() {
        let most = batch(32).probe().max_newer_events().unsigned_abs();
        assert_eq!(most, 2_048);

        let settlement = refused(batch(32), most + 10);

        let behind = |(_, outcome): &(_, _)| matches!(outcome, Ok(AppendOutcome::Behind));
        assert!(settlement.replies.len() == 9 && settlement.replies.iter().all(behind));
        assert_eq!(settlement.requeue[0].len(), 23);
    }

    #[test]
    fn answers_only_those_that_lie_above_the_head_if_there_are_any() {
        let settlement = refused(batch(32), 30);

        let ahead =
            |(_, outcome): &(_, _)| matches!(outcome, Ok(AppendOutcome::PositionAhead { .. }));
        assert!(settlement.replies.len() == 2 && settlement.replies.iter().all(ahead));
        assert_eq!(settlement.requeue[0].len(), 30);
    }
}

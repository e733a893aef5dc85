use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;

use super::check_events;
use super::search::AttemptStep;
use crate::sql::{ConflictProbe, Precondition};
use crate::store::Store;
use crate::store::appender::{AppendRequest, is_large};
use crate::store::deadline::AttemptDeadline;
use crate::store::failure::{AppendFailure, may_follow_commit, outcome_unknown};
use crate::store::outcome::AppendOutcome;
use crate::store::staged::StagedAppend;
use crate::telemetry::{Operation, OperationHandle, OperationPhase, RetryCall};
use crate::{AppendCondition, Appended, Bookmark, Class, Error, Event, ReadWrite};

/// A call that appends events, with all of its attempts.
///
/// [`run`](Self::run) makes as many attempts as the retry policy allows, and more while the outcome
/// is unknown. A decision reads again before its next attempt. So it makes a single one by
/// [`run_once`](Self::run_once), or under the log's lock with one more if the server did not append
/// there, and further ones only by [`resolve_unknown`](Self::resolve_unknown).
pub(in crate::store) struct AppendCall<'a> {
    pub(super) store: &'a Store<ReadWrite>,
    pub(super) events: Arc<[Event]>,
    pub(super) condition: AppendCondition,
    started: Instant,
    /// The operation that the call is, or is a part of.
    pub(super) operation: OperationHandle,
    /// Whether the outcome of an earlier attempt is unknown, so that it may have stored the events.
    has_unknown_attempt: AtomicBool,
}

impl<'a> AppendCall<'a> {
    pub(in crate::store) fn new(
        store: &'a Store<ReadWrite>,
        events: Arc<[Event]>,
        condition: AppendCondition,
        started: Instant,
        operation: OperationHandle,
    ) -> Self {
        let has_unknown_attempt = AtomicBool::new(false);
        Self { store, events, condition, started, operation, has_unknown_attempt }
    }

    /// Checks the events, and makes attempts until they are stored or the retry policy allows no
    /// more (after an unknown outcome, up to the deadline).
    pub(in crate::store) async fn run(&self) -> Result<Appended, Error> {
        check_events(&self.events)?;
        let call = self.retry_call(self.store.scope_or(SCOPE));
        let is_retried = |error: &Error| error.is_outcome_unknown() || error.is_repeatable();
        self.store.retry_until_known(call, self.started, is_retried, || self.attempt()).await
    }

    /// Checks the events, and makes one attempt. Makes more only if the outcome is unknown.
    pub(in crate::store) async fn run_once(&self) -> Result<Appended, Error> {
        check_events(&self.events)?;
        self.resolve_unknown(self.attempt().await).await
    }

    /// Makes one attempt to append events that were checked.
    pub(in crate::store) async fn attempt(&self) -> Result<Appended, Error> {
        let deadline = self.deadline();
        let has_unknown_attempt = self.has_unknown_attempt.load(Ordering::Relaxed);
        let result = self.search_and_append(has_unknown_attempt, deadline).await;
        if result.as_ref().is_err_and(Error::is_outcome_unknown) {
            self.has_unknown_attempt.store(true, Ordering::Relaxed);
            return result;
        }
        if !has_unknown_attempt {
            return result;
        }
        // An earlier attempt may still arrive at the server. The error of this one is final only if
        // the earlier one cannot be stored either, whenever it arrives: after a conflict or with a
        // lost position (Lemma 6), and if the ids belong to other events (SAFETY.md, G5).
        result.map(Appended::as_first).map_err(|error| match error {
            Error::Conflict { .. } | Error::DuplicateEvent { .. } | Error::PositionLost { .. } => {
                error
            }
            error => outcome_unknown(&self.store.first_server(), &self.events, error),
        })
    }

    /// Returns the deadline of an attempt. A large append may need all of the call's time to
    /// arrive, and then to find out why it was not appended.
    fn deadline(&self) -> AttemptDeadline {
        let deadline = self.store.attempt_deadline(self.started);
        if is_large(&self.events) { deadline.extend_to_call() } else { deadline }
    }

    /// Makes more attempts until the outcome is known, if it is unknown after the last attempt and
    /// the retry policy allows retries.
    pub(in crate::store) async fn resolve_unknown(
        &self,
        result: Result<Appended, Error>,
    ) -> Result<Appended, Error> {
        match result {
            Err(error) if error.is_outcome_unknown() && self.store.retry.attempts() > 1 => {
                self.has_unknown_attempt.store(true, Ordering::Relaxed);
                let is_retried = Error::is_outcome_unknown;
                // Not under the handle's scope, under which the decision is counted.
                let (call, attempt) = (self.retry_call(SCOPE), || self.attempt());
                self.store.retry_until_known(call, self.started, is_retried, attempt).await
            }
            result => result,
        }
    }

    fn retry_call(&self, scope: &'static str) -> RetryCall {
        self.store.shared.telemetry.retry(scope).of_operation(&self.operation)
    }

    /// Awaits one of the methods above, and records its result as that of the operation.
    pub(in crate::store) async fn record(
        &self,
        mut operation: Operation,
        append: impl Future<Output = Result<Appended, Error>>,
    ) -> Result<Appended, Error> {
        let result = append.await;
        if let Ok(appended) = &result {
            operation.count_appended(self.new_events(appended));
        }
        operation.finish(result)
    }

    /// Returns how many of the events this call has stored: none of them if an earlier call had. As
    /// far as known: after an unknown outcome, events that are found count as stored by this call.
    pub(in crate::store) fn new_events(&self, appended: &Appended) -> u64 {
        if appended.is_repeat() { 0 } else { self.events.len() as u64 }
    }

    /// Appends the events, and searches outside of the log's lock: before the append, if the
    /// condition is old or the events may be stored already, and after it, if the server did not
    /// append them.
    ///
    /// Futures that most appends do not await are boxed, so that the callers' futures stay small.
    async fn search_and_append(
        &self,
        has_unknown_attempt: bool,
        deadline: AttemptDeadline,
    ) -> Result<Appended, Error> {
        let mut counts = RefusalCounts::default();
        let mut next = self.first_step(has_unknown_attempt);
        // Each search and each append fails if the deadline has passed. Stored events are returned
        // all the same.
        loop {
            next = match next {
                AttemptStep::Search(request) => Box::pin(self.search(request, deadline)).await?,
                AttemptStep::Append { validated } => {
                    self.append(validated, &mut counts, deadline).await?
                }
                AttemptStep::Return(appended) => return Ok(appended),
            };
        }
    }

    /// Sends the append, whose condition a search has validated up to `validated`. Returns the next
    /// step.
    async fn append(
        &self,
        validated: Option<Bookmark>,
        counts: &mut RefusalCounts,
        deadline: AttemptDeadline,
    ) -> Result<AttemptStep, Error> {
        self.operation.enter(OperationPhase::Queue);
        let operation = self.operation.clone();
        let request = AppendRequest::new(self.events.clone(), self.condition.clone(), operation);
        let request = request.with_too_old_count(counts.too_old);
        let request = match validated {
            Some(head) => request.validated_to(head),
            None => request,
        };
        match self.send(request, deadline).await {
            Ok(AppendOutcome::Appended { first, last }) => {
                self.store.shared.log.note_newest(last);
                Ok(AttemptStep::Return(Appended::new(first, last)))
            }
            Ok(AppendOutcome::PositionAhead { head }) => {
                Box::pin(self.check_position(head, deadline)).await
            }
            Ok(AppendOutcome::IdTaken { may_be_own: true }) => {
                Box::pin(self.find_own_events(deadline)).await
            }
            Ok(AppendOutcome::EpochEnded) => {
                counts.epoch_ended += 1;
                match counts.epoch_ended > MAX_ENDED_EPOCHS {
                    true => Err(self.several_epochs()),
                    false => Ok(self.search_for_conflict()),
                }
            }
            Ok(AppendOutcome::IdTaken { may_be_own: false }) => Ok(self.search_for_conflict()),
            Ok(AppendOutcome::ConditionBroken { event }) => Ok(self.search_for_event_at(event)),
            Ok(AppendOutcome::ConditionTooOld) => {
                counts.too_old += 1;
                Ok(self.search_for_conflict())
            }
            Err(error) if may_follow_commit(&error) => {
                Box::pin(self.stored_or(error, deadline)).await.map(AttemptStep::Return)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the error of an attempt whose searches found other epochs than its appends.
    fn several_epochs(&self) -> Error {
        let server = self.store.first_server().to_string();
        let reason = "the log's epoch changed between each search and the append: check that only \
                      one server of the address accepts writes";
        Error::UnsuitableServer { server, reason: reason.into(), class: Class::Transient }
    }

    /// Sends a request in a batch with others or, if it is large, in a transaction of its own.
    async fn send(
        &self,
        request: AppendRequest,
        deadline: AttemptDeadline,
    ) -> Result<AppendOutcome, Error> {
        match request.is_large() {
            true => Box::pin(self.send_staged(request, deadline)).await,
            false => self.store.shared.appender().append(request, deadline).await,
        }
    }

    async fn send_staged(
        &self,
        request: AppendRequest,
        deadline: AttemptDeadline,
    ) -> Result<AppendOutcome, Error> {
        let shared = &self.store.shared;
        let pool = self.store.primary_pool();
        self.operation.enter(OperationPhase::Acquire);
        let mut lease = deadline.acquire(pool).await?;
        let mut probe = ConflictProbe::default();
        let condition = request.condition.filter_position();
        let (validated, count) = (request.validated, request.too_old_count);
        probe.add(request.events.len(), condition, validated, count);
        let staged = StagedAppend {
            log: &shared.log,
            events: &request.events,
            precondition: condition.map_or(Precondition::None, |_| Precondition::NoMatch(&probe)),
            lock_timeout: shared.lock_timeout,
            operation: &self.operation,
        };
        match staged.run(&mut lease, deadline).await.result {
            Ok(answer) => Ok(AppendOutcome::of_single(&answer, request.validated)),
            Err(AppendFailure::Error(error)) => Err(error),
            Err(AppendFailure::IdTaken) => Ok(AppendOutcome::IdTaken { may_be_own: false }),
        }
    }
}

/// How often the server did not append in an attempt, by the reason.
#[derive(Default)]
struct RefusalCounts {
    too_old: u32,
    epoch_ended: u32,
}

/// How often the epoch of a validated position may have ended in an attempt, before the attempt
/// fails.
const MAX_ENDED_EPOCHS: u32 = 2;
/// The scope under which the attempts of appends are counted.
pub(in crate::store) const SCOPE: &str = "append";

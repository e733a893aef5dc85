use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;

use super::check_events;
use super::search::AttemptStep;
use crate::sql::{ConflictProbe, Precondition};
use crate::store::Store;
use crate::store::appender::AppendRequest;
use crate::store::deadline::AttemptDeadline;
use crate::store::failure::{follows_commit, outcome_unknown};
use crate::store::outcome::AppendOutcome;
use crate::store::staged::{StagedAppend, StagedFailure};
use crate::telemetry::OperationName;
use crate::{AppendCondition, Appended, Error, Event, ReadWrite, SequenceNumber};

/// A call that appends events, with all of its attempts.
///
/// There are three steps: [`attempt`](Self::attempt) makes one attempt, [`run`](Self::run) makes as
/// many as the retry policy allows, and [`resolve_unknown`](Self::resolve_unknown) goes on until
/// the outcome is known.
pub(in crate::store) struct AppendCall<'a> {
    pub(super) store: &'a Store<ReadWrite>,
    pub(super) events: Arc<[Event]>,
    pub(super) condition: AppendCondition,
    started: Instant,
    /// Whether an earlier attempt may have stored the events.
    may_be_stored: AtomicBool,
}

impl<'a> AppendCall<'a> {
    pub(in crate::store) fn new(
        store: &'a Store<ReadWrite>,
        events: Arc<[Event]>,
        condition: AppendCondition,
        started: Instant,
    ) -> Self {
        Self { store, events, condition, started, may_be_stored: AtomicBool::new(false) }
    }

    /// Makes attempts until the events are stored or the retry policy allows no more.
    pub(in crate::store) async fn run(&self) -> Result<Appended, Error> {
        let scope = self.store.scope_or(SCOPE);
        let is_retried = |error: &Error| error.is_outcome_unknown() || error.is_repeatable();
        self.store.retry_until_known(scope, self.started, is_retried, || self.attempt()).await
    }

    /// Makes one attempt.
    pub(in crate::store) async fn attempt(&self) -> Result<Appended, Error> {
        let deadline = self.store.attempt_deadline(self.started);
        let may_be_stored = self.may_be_stored.load(Ordering::Relaxed);
        let result = self.search_and_append(may_be_stored, deadline).await;
        if result.as_ref().is_err_and(Error::is_outcome_unknown) {
            self.may_be_stored.store(true, Ordering::Relaxed);
            return result;
        }
        if !may_be_stored {
            return result;
        }
        // An earlier attempt may still arrive at the server. The refusal of this one is the answer
        // only if the server refuses the earlier one as well, whenever it arrives: after a conflict
        // (Lemma 6), and if the ids belong to other events (SAFETY.md, G5).
        result.map(Appended::as_first).map_err(|error| match error {
            Error::Conflict { .. } | Error::DuplicateEvent { .. } => error,
            error => outcome_unknown(self.store.first().server(), &self.events, error),
        })
    }

    /// Makes more attempts until the outcome is known, if it is unknown after the last attempt and
    /// the retry policy allows retries.
    pub(in crate::store) async fn resolve_unknown(
        &self,
        result: Result<Appended, Error>,
    ) -> Result<Appended, Error> {
        match result {
            Err(error) if error.is_outcome_unknown() && self.store.retry.attempts() > 1 => {
                self.may_be_stored.store(true, Ordering::Relaxed);
                let is_retried = Error::is_outcome_unknown;
                let attempt = || self.attempt();
                self.store.retry_until_known(SCOPE, self.started, is_retried, attempt).await
            }
            result => result,
        }
    }

    /// Checks the events and runs one of the steps, which telemetry sees as one operation.
    pub(in crate::store) async fn record(
        &self,
        step: impl Future<Output = Result<Appended, Error>>,
    ) -> Result<Appended, Error> {
        let mut operation = self.store.operation(OperationName::Append);
        let result = match check_events(&self.events) {
            Ok(()) => step.await,
            Err(error) => Err(error),
        };
        if let Ok(appended) = &result {
            operation.count_appended(self.new_events(appended));
        }
        operation.finish(result)
    }

    /// Returns how many of the events the log did not hold before this call.
    pub(in crate::store) fn new_events(&self, appended: &Appended) -> u64 {
        if appended.is_repeat() { 0 } else { self.events.len() as u64 }
    }

    /// Appends the events, and searches outside of the log's lock: before the append, if the
    /// condition is old or the events may be stored already, and after it, if the server refused
    /// it.
    ///
    /// Futures that most appends do not await are boxed, so that the callers' futures stay small.
    async fn search_and_append(
        &self,
        may_be_stored: bool,
        deadline: AttemptDeadline,
    ) -> Result<Appended, Error> {
        let mut refusals = 0;
        let mut next = self.first_step(may_be_stored);
        loop {
            deadline.check(self.store.first().server())?;
            if let AttemptStep::Search(request) = next {
                next = Box::pin(self.search(request, deadline)).await?;
            }
            if let AttemptStep::Append(validated) = next {
                next = self.append(validated, &mut refusals, deadline).await?;
            }
            // This comes before the next check of the deadline: the events are stored, even if the
            // deadline has passed.
            if let AttemptStep::Return(appended) = next {
                return Ok(appended);
            }
        }
    }

    /// Sends the append, whose condition is known to hold up to `validated`.
    async fn append(
        &self,
        validated: SequenceNumber,
        refusals: &mut u32,
        deadline: AttemptDeadline,
    ) -> Result<AttemptStep, Error> {
        let request = AppendRequest::new(self.events.clone(), self.condition.clone());
        let request = request.validated_to(validated).with_refusals(*refusals);
        let search = match self.send(request, deadline).await {
            Ok(AppendOutcome::Appended { first, last }) => {
                self.store.shared.log.note_newest(last);
                return Ok(AttemptStep::Return(Appended::new(first, last)));
            }
            Ok(AppendOutcome::PositionAhead { head }) => {
                return Box::pin(self.check_position(head, deadline)).await;
            }
            Ok(AppendOutcome::IdTaken { may_be_own: true }) => {
                return Box::pin(self.find_own_events(deadline)).await;
            }
            Ok(AppendOutcome::IdTaken { may_be_own: false }) => self.search_request(None),
            Ok(AppendOutcome::ConditionBroken { event }) => self.search_request(Some(event)),
            Ok(AppendOutcome::ConditionTooOld) => {
                *refusals += 1;
                self.search_request(None)
            }
            Err(error) if follows_commit(&error) => {
                return Box::pin(self.stored_or(error, deadline)).await.map(AttemptStep::Return);
            }
            Err(error) => return Err(error),
        };
        Ok(AttemptStep::Search(search))
    }

    /// Sends the append in a batch with others or, if it is large, in a transaction of its own.
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
        let deadline = deadline.extend_to_call();
        let pool = self.store.first();
        let mut lease = deadline.run_against(pool.server(), pool.acquire()).await?;
        let mut probe = ConflictProbe::default();
        let guard = request.condition.guard();
        probe.add(request.events.len(), guard, request.validated, request.refusals);
        let staged = StagedAppend {
            log: &shared.log,
            events: &request.events,
            precondition: guard.map_or(Precondition::None, |_| Precondition::NoMatch(&probe)),
            lock_timeout: shared.lock_timeout,
        };
        match staged.run(&mut lease, deadline).await.result {
            Ok(answer) => Ok(AppendOutcome::of_single(&answer, request.validated)),
            Err(StagedFailure::Error(error)) => Err(error),
            Err(StagedFailure::IdTaken) => Ok(AppendOutcome::IdTaken { may_be_own: false }),
        }
    }
}

/// The scope under which the attempts of appends are counted.
const SCOPE: &str = "append";

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;
use uuid::Uuid;

use super::Store;
use super::appender::AppendRequest;
use super::deadline::AttemptDeadline;
use super::failure::{follows_commit, outcome_unknown};
use super::log::bytes_of;
use super::outcome::AppendOutcome;
use super::searches::SearchRequest;
use super::staged::{StagedAppend, StagedFailure};
use crate::limits::{MAX_APPEND_BYTES, MAX_APPEND_EVENTS};
use crate::sql::{ConflictProbe, Precondition};
use crate::telemetry::OperationName;
use crate::{AppendCondition, Appended, Error, Event, ReadWrite, SequenceNumber};

impl Store<ReadWrite> {
    /// Appends events in the order given, all of them or none, if the condition holds.
    ///
    /// An accepted append has seen everything: no event that matches its condition's filter was
    /// committed after the position that the condition names. It is as durable as the server's
    /// `synchronous_commit` says when this returns.
    ///
    /// Concurrent appends of a store share one transaction and one flush, as
    /// [`Config::max_batch`](crate::Config::max_batch) says. Each condition is validated on its own.
    /// Callers need do nothing for it but append from many tasks at once. An append of 64 KiB of JSON or
    /// more, or of more than 256 events, has a transaction of its own, and all of the time that is left to
    /// its call to arrive at the server; if the retry policy has no deadline, the time of an attempt. No
    /// other append waits for it meanwhile.
    ///
    /// # Nothing twice
    ///
    /// The store tries an append again as its [`RetryPolicy`](crate::RetryPolicy) says: after transient
    /// faults, of which nothing was stored, and after unknown outcomes. The ids of the events make that
    /// safe, whatever the condition. If the log holds all of the events already, with the same contents,
    /// the append is answered with their positions. That is so for later calls too, of any process, so
    /// that a program which was interrupted may append the same events (with the same ids and times)
    /// again. A conflict is never tried again: the decision is out of date.
    ///
    /// # Errors
    ///
    /// - [`Error::Conflict`]: the condition does not hold.
    /// - [`Error::PositionAhead`]: the log has not reached the position that the condition names.
    /// - [`Error::InvalidAppend`]: there is no event, two have the same id, or there is more than
    ///   [`MAX_APPEND_EVENTS`] or [`MAX_APPEND_BYTES`] allow.
    /// - [`Error::DuplicateEvent`]: the log holds one of the ids, with other contents or without the
    ///   other events.
    /// - [`Error::Unreachable`], [`Error::PoolExhausted`], [`Error::ConnectionLost`] and
    ///   [`Error::TimedOut`]: the primary could not be asked, or the events did not arrive in time.
    /// - [`Error::SchemaDamaged`]: the log's sequence does not go on behind its events.
    /// - [`Error::Database`]: the primary refused.
    /// - [`Error::QueueFull`]: too many appends wait already
    ///   ([`Config::queue_full`](crate::Config::queue_full)).
    ///
    /// In all of these nothing was stored.
    ///
    /// - [`Error::OutcomeUnknown`]: the connection was lost before the answer came, and could not be had
    ///   again before the deadline. The events were stored, all of them, or they were not.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it stores all of its events or none, perhaps a moment later. An append that still waits
    /// for others stores none; one that was sent is stored if it is accepted. The same append, called
    /// again, tells which.
    pub async fn append(
        &self,
        events: impl IntoIterator<Item = Event>,
        condition: AppendCondition,
    ) -> Result<Appended, Error> {
        let events = events.into_iter().collect();
        AppendCall::new(self, events, condition, Instant::now()).run().await
    }

    /// Tries what stores events again and again, where an unknown outcome is worth all of the time
    /// that there is.
    pub(super) async fn try_until_known<O, F, T>(
        &self,
        scope: &'static str,
        started: Instant,
        again: impl Fn(&Error) -> bool,
        attempt: O,
    ) -> Result<T, Error>
    where
        O: FnMut() -> F,
        F: Future<Output = Result<T, Error>>,
    {
        let policy = &self.retry;
        let mut patience = policy.patience();
        self.retry_as(scope, attempt)
            .started_at(started)
            .when(again)
            .adjust(|error, pause| match error.is_outcome_unknown() {
                true => {
                    let pause = pause.or_else(|| patience.as_mut()?.next())?;
                    let ends = policy.ends(started);
                    let left = ends.map(|ends| ends.saturating_duration_since(Instant::now()));
                    Some(left.map_or(pause, |left| pause.min(left / 2)))
                }
                false => pause,
            })
            .await
            .into_result()
            .map_err(Error::from)
    }
}

/// An append, with all of its attempts.
pub(super) struct AppendCall<'a> {
    store: &'a Store<ReadWrite>,
    events: Arc<[Event]>,
    condition: AppendCondition,
    started: Instant,
    /// Whether an attempt may have stored the events.
    uncertain: AtomicBool,
}

impl<'a> AppendCall<'a> {
    pub(super) fn new(
        store: &'a Store<ReadWrite>,
        events: Arc<[Event]>,
        condition: AppendCondition,
        started: Instant,
    ) -> Self {
        Self { store, events, condition, started, uncertain: AtomicBool::new(false) }
    }

    /// Tries until the events are stored, or cannot be.
    async fn run(&self) -> Result<Appended, Error> {
        let again = |error: &Error| error.is_outcome_unknown() || error.is_repeatable();
        self.measured(async {
            check(&self.events)?;
            self.retry(self.store.scope_or(SCOPE), again).await
        })
        .await
    }

    /// Tries once, or until it is known whether the events are stored. The attempt is part of a
    /// decision.
    pub(super) async fn run_once(&self) -> Result<Appended, Error> {
        self.measured(async {
            check(&self.events)?;
            self.resolve_unknown(self.attempt().await).await
        })
        .await
    }

    /// Goes on trying if it is not known whether the events are stored.
    pub(super) async fn resolve_unknown(
        &self,
        result: Result<Appended, Error>,
    ) -> Result<Appended, Error> {
        match result {
            Err(error) if error.is_outcome_unknown() && self.store.retry.attempts() > 1 => {
                self.uncertain.store(true, Ordering::Relaxed);
                self.retry(SCOPE, Error::is_outcome_unknown).await
            }
            result => result,
        }
    }

    /// Returns how many events were not in the log before.
    pub(super) fn new_events(&self, appended: &Appended) -> u64 {
        if appended.is_repeat() { 0 } else { self.events.len() as u64 }
    }

    async fn measured(
        &self,
        append: impl Future<Output = Result<Appended, Error>>,
    ) -> Result<Appended, Error> {
        let mut operation = self.store.operation(OperationName::Append);
        let result = append.await;
        if let Ok(appended) = &result {
            operation.count_appended(self.new_events(appended));
        }
        operation.finish(result)
    }

    async fn retry(
        &self,
        scope: &'static str,
        again: impl Fn(&Error) -> bool,
    ) -> Result<Appended, Error> {
        self.store.try_until_known(scope, self.started, again, || self.attempt()).await
    }

    /// Tries once.
    pub(super) async fn attempt(&self) -> Result<Appended, Error> {
        let deadline = AttemptDeadline::new(&self.store.retry, self.started);
        let uncertain = self.uncertain.load(Ordering::Relaxed);
        match self.search_and_append(uncertain, deadline).await {
            Err(error) if error.is_outcome_unknown() => {
                self.uncertain.store(true, Ordering::Relaxed);
                Err(error)
            }
            // An earlier attempt may still be on its way. This one's refusal is the answer only if that
            // one cannot be accepted any more, whenever it arrives.
            Err(error)
                if uncertain
                    && !matches!(error, Error::Conflict { .. } | Error::DuplicateEvent { .. }) =>
            {
                Err(outcome_unknown(self.store.first().server(), &self.events, error))
            }
            Ok(appended) if uncertain => Ok(appended.as_first()),
            result => result,
        }
    }

    /// Appends, and searches outside of the log's lock for what decides the append: before it, if the
    /// condition is old or the events may be stored already, and after it, if it was refused.
    ///
    /// What an append seldom waits for is boxed, so that the futures of its callers stay small.
    async fn search_and_append(
        &self,
        uncertain: bool,
        deadline: AttemptDeadline,
    ) -> Result<Appended, Error> {
        let log = &self.store.shared.log;
        let is_old = self.condition.guard().is_some_and(|guard| log.is_old(guard));
        let mut search = match uncertain {
            true => Some(self.search(None)),
            // Its events are looked for only if the condition does not hold.
            false => is_old.then(|| SearchRequest { events: Arc::new([]), ..self.search(None) }),
        };
        let mut validated = SequenceNumber::ZERO;
        let mut refusals = 0;
        loop {
            deadline.check(self.store.first().server())?;
            if let Some(request) = search.take() {
                match Box::pin(self.find(request, deadline)).await? {
                    SearchResult::Stored(appended) => return Ok(appended),
                    SearchResult::Holds { head } => validated = head,
                    SearchResult::Broken { event } => {
                        search = Some(self.search(Some(event)));
                        continue;
                    }
                    SearchResult::Nothing => {
                        search = Some(self.search(None));
                        continue;
                    }
                }
            }
            let request = AppendRequest::new(self.events.clone(), self.condition.clone());
            let request = request.validated_to(validated).refused(refusals);
            let outcome = match self.send(request, deadline).await {
                Err(error) if follows_commit(&error) => {
                    return Box::pin(self.stored_or(error, deadline)).await;
                }
                outcome => outcome?,
            };
            search = Some(match outcome {
                AppendOutcome::Appended { first, last } => {
                    log.note_newest(last);
                    return Ok(Appended::new(first, last));
                }
                AppendOutcome::PositionAhead { head } => {
                    Box::pin(self.look_back(head, deadline)).await?
                }
                AppendOutcome::IdTaken { may_be_own: true } => {
                    match Box::pin(self.stored_before(deadline)).await? {
                        Some(appended) => return Ok(appended.as_first()),
                        None => self.search(None),
                    }
                }
                AppendOutcome::Broken { event } => self.search(Some(event)),
                AppendOutcome::Behind => {
                    refusals += 1;
                    self.search(None)
                }
                AppendOutcome::IdTaken { .. } => self.search(None),
            });
        }
    }

    /// Searches, and says what the finding means. A conflict is an error.
    async fn find(
        &self,
        request: SearchRequest,
        deadline: AttemptDeadline,
    ) -> Result<SearchResult, Error> {
        let shared = &self.store.shared;
        let (at, knows_ids) = (request.at, !request.events.is_empty());
        let found = shared.searches().find(request, deadline).await?;
        shared.log.note_newest(found.head);
        if found.holds_event {
            let stored = self.stored_before(deadline).await?;
            // Their owner may have deleted them since.
            return Ok(stored.map_or(SearchResult::Nothing, SearchResult::Stored));
        }
        if let Some((event, event_type)) = found.event {
            // Unless the same snapshot has shown that the log does not hold the append's own events.
            if !knows_ids || found.needs_own_search {
                return Ok(SearchResult::Broken { event });
            }
            let after = self.condition.guard().map(|guard| guard.after).unwrap_or_default();
            return Err(Error::Conflict { after, event, event_type });
        }
        Ok(match at {
            Some(_) => SearchResult::Nothing,
            None => SearchResult::Holds { head: found.head },
        })
    }

    /// Returns the search that goes on from a head which lies before the position up to which the
    /// condition is validated. If it lies before the condition's own position, that is an error, unless
    /// the events are stored already.
    async fn look_back(
        &self,
        head: SequenceNumber,
        deadline: AttemptDeadline,
    ) -> Result<SearchRequest, Error> {
        match self.condition.guard().filter(|guard| guard.after > head) {
            Some(guard) if self.stored_before(deadline).await?.is_none() => {
                Err(Error::PositionAhead { position: guard.after, head })
            }
            _ => Ok(self.search(None)),
        }
    }

    /// Returns the positions of the events if this call has stored them, or else the error that it was
    /// answered with.
    async fn stored_or(&self, error: Error, deadline: AttemptDeadline) -> Result<Appended, Error> {
        match self.stored_before(deadline).await {
            Ok(Some(appended)) => Ok(appended.as_first()),
            Ok(None) => Err(error),
            Err(_) => Err(outcome_unknown(self.store.first().server(), &self.events, error)),
        }
    }

    /// Makes the search for the events, and for the one that the append was refused for or, if that is
    /// not known, for the first one that breaks the condition.
    fn search(&self, at: Option<SequenceNumber>) -> SearchRequest {
        let guard = self.condition.guard().filter(|_| at.is_none()).cloned();
        SearchRequest { events: self.events.clone(), at, guard }
    }

    /// Returns the positions of the events, if the log holds all of them. Returns `None` if it holds
    /// none of them.
    async fn stored_before(&self, deadline: AttemptDeadline) -> Result<Option<Appended>, Error> {
        let shared = &self.store.shared;
        let held = shared.searches().held_events(&self.events, deadline).await?;
        if let Some(other) = held
            .iter()
            .find(|held| !held.is_same)
            .or_else(|| held.first().filter(|_| held.len() < self.events.len()))
        {
            let event_id = self.events[other.index].id();
            return Err(Error::DuplicateEvent { event_id, position: other.position });
        }
        let positions = || held.iter().map(|held| held.position);
        let stored = positions().min().zip(positions().max());
        if let Some((_, last)) = stored {
            shared.log.note_newest(last);
        }
        Ok(stored.map(|(first, last)| Appended::repeat(first, last)))
    }

    /// Sends the append together with others, or alone if it is large.
    async fn send(
        &self,
        request: AppendRequest,
        deadline: AttemptDeadline,
    ) -> Result<AppendOutcome, Error> {
        match request.is_large() {
            true => Box::pin(self.send_alone(request, deadline)).await,
            false => self.store.shared.appender().append(request, deadline).await,
        }
    }

    async fn send_alone(
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
            Ok(answer) => Ok(AppendOutcome::of_one(&answer, request.validated)),
            Err(StagedFailure::Error(error)) => Err(error),
            Err(StagedFailure::IdTaken) => Ok(AppendOutcome::IdTaken { may_be_own: false }),
        }
    }
}

/// What a search means for an append.
enum SearchResult {
    /// An event breaks the condition. It may be one of the append's own.
    Broken { event: SequenceNumber },
    /// The condition holds up to this head.
    Holds { head: SequenceNumber },
    /// What it looked for is not there any more.
    Nothing,
    /// The log holds the events already.
    Stored(Appended),
}

/// What the attempts of appends are counted under.
const SCOPE: &str = "append";

pub(super) fn check(events: &[Event]) -> Result<(), Error> {
    if events.is_empty() {
        return Err(Error::invalid_append("has no event"));
    }
    if events.len() > MAX_APPEND_EVENTS {
        let count = events.len();
        let reason = format!("has {count} events, the most are {MAX_APPEND_EVENTS}");
        return Err(Error::invalid_append(reason));
    }
    let bytes = bytes_of(events);
    if bytes > MAX_APPEND_BYTES {
        let reason = format!("has {bytes} bytes of JSON, the most are {MAX_APPEND_BYTES}");
        return Err(Error::invalid_append(reason));
    }
    let has_twins = || events.iter().map(Event::id).collect::<HashSet<Uuid>>().len() < events.len();
    if events.len() > 1 && has_twins() {
        return Err(Error::invalid_append("has two events of the same id"));
    }
    Ok(())
}

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;
use uuid::Uuid;

use super::Store;
use super::appender::Request;
use super::limit::Limit;
use super::log::bytes_of;
use super::transact::outcome_unknown;
use crate::sql::{Occasion, Verdict};
use crate::telemetry::{Operation, OperationName};
use crate::{AppendCondition, Appended, Class, Error, Event, ReadWrite, Reason};

/// The most events of one append.
pub const MAX_APPEND_EVENTS: usize = 100_000;

/// The most bytes of payload and metadata of one append.
pub const MAX_APPEND_BYTES: usize = 256 << 20;

impl Store<ReadWrite> {
    /// Appends events in the order given, all of them or none, if the condition holds.
    ///
    /// An accepted append has seen everything: no event that matches its condition's filter was
    /// committed after the position that the condition names, by whomever. It is as durable as the
    /// server's `synchronous_commit` says when this returns.
    ///
    /// Appends that come while another one of this store is under way go together, in one
    /// transaction, as [`Config::max_batch`](crate::Config::max_batch) says; each is accepted or
    /// refused by itself. Callers need do nothing for it but append from many tasks at once.
    ///
    /// # Nothing twice
    ///
    /// What may be tried again is, as the store's [`RetryPolicy`](crate::RetryPolicy) says:
    /// transient faults, of which nothing was stored, and unknown outcomes. The ids of the events
    /// make that safe, whatever the condition: an append whose events are all in the log already is
    /// answered with their places. That is so for later calls too, from whichever process and
    /// however long after, so that a program which was interrupted may just append the same events
    /// (with the same ids) again. A conflict is never tried again: the decision is out of date.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] where the condition does not hold, [`Error::PositionAhead`] where it
    /// names a position that the log has not reached, [`Error::InvalidAppend`] where there is no
    /// event, two have the same id, or there is more than [`MAX_APPEND_EVENTS`] or
    /// [`MAX_APPEND_BYTES`] allow, [`Error::DuplicateEvent`] where some of its ids are in the log
    /// already, [`Error::Unreachable`], [`Error::PoolExhausted`], [`Error::ConnectionLost`] and
    /// [`Error::TimedOut`] where the primary could not be asked, [`Error::Database`] where it
    /// refused, [`Error::QueueFull`] where too many wait already and the store does not let more of
    /// them ([`Config::queue_full`](crate::Config::queue_full)). In all of these nothing was stored.
    ///
    /// [`Error::OutcomeUnknown`] where the connection was lost before the answer came, and could
    /// not be had again before the deadline: the events were stored, all of them, or they were not.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it stores all of its events or none, perhaps a moment later: none while it waits for
    /// another one, all that is accepted once it was sent. Which it is tells the same append, called
    /// again.
    pub async fn append(
        &self,
        events: impl IntoIterator<Item = Event>,
        condition: AppendCondition,
    ) -> Result<Appended, Error> {
        let events = events.into_iter().collect();
        Appending::new(self, events, condition, Instant::now()).retry().await
    }

    /// Says what a verdict means to the caller.
    pub(super) fn judge(
        &self,
        verdict: Verdict,
        condition: &AppendCondition,
    ) -> Result<Appended, Error> {
        let after = condition.guard().map(|guard| guard.after).unwrap_or_default();
        let unfit = |reason: &'static str| Error::UnfitServer {
            server: self.first().server().to_string(),
            reason: reason.into(),
            class: Class::Permanent(Reason::Bug),
        };
        match verdict {
            Verdict::Accepted { first, last, head: _ } => {
                self.shared.log.note_newest(last);
                Ok(Appended::new(first, last))
            }
            Verdict::Ahead { head } => Err(Error::PositionAhead { position: after, head }),
            Verdict::Broken { event, event_type } => {
                self.shared.log.note_newest(event);
                Err(Error::Conflict { after, event, event_type })
            }
            Verdict::Mixed { event_id, position } => {
                Err(Error::DuplicateEvent { event_id, position })
            }
            Verdict::Stored { first, last } => {
                self.shared.log.note_newest(last);
                Ok(Appended::repeat(first, last))
            }
            Verdict::Taken => Err(unfit("it holds an event and does not find it")),
            Verdict::Unlocked => Err(unfit("the append ran outside of its transaction")),
        }
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
            .since(started)
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

/// An append, with all of its tries.
pub(super) struct Appending<'a> {
    store: &'a Store<ReadWrite>,
    events: Arc<[Event]>,
    condition: AppendCondition,
    started: Instant,
    /// Whether a try may have stored the events.
    uncertain: AtomicBool,
}

impl<'a> Appending<'a> {
    pub(super) fn new(
        store: &'a Store<ReadWrite>,
        events: Arc<[Event]>,
        condition: AppendCondition,
        started: Instant,
    ) -> Self {
        Self { store, events, condition, started, uncertain: AtomicBool::new(false) }
    }

    /// Tries until the events are stored, or cannot be.
    async fn retry(&self) -> Result<Appended, Error> {
        let operation = self.store.operation(OperationName::Append);
        let again = |error: &Error| error.is_outcome_unknown() || error.is_repeatable();
        let result = match check(&self.events) {
            Ok(()) => self.tries(self.store.scope_or(SCOPE), again).await,
            Err(error) => Err(error),
        };
        self.end(operation, result)
    }

    /// Tries once, or until it is known whether the events are stored.
    ///
    /// The try is part of a decision, and counted as one of its own.
    pub(super) async fn settle(&self) -> Result<Appended, Error> {
        let operation = self.store.operation(OperationName::Append);
        let result = match check(&self.events) {
            Ok(()) => self.attempt().await,
            Err(error) => Err(error),
        };
        let result = self.find_out(result).await;
        self.end(operation, result)
    }

    fn end(
        &self,
        mut operation: Operation,
        result: Result<Appended, Error>,
    ) -> Result<Appended, Error> {
        if let Ok(appended) = &result {
            operation.count_appended(self.new_events(appended));
        }
        operation.finish(result)
    }

    /// Says what a try has come to, or tries until that is known.
    pub(super) async fn conclude(
        &self,
        verdict: Result<Verdict, Error>,
    ) -> Result<Appended, Error> {
        let result = match verdict {
            Ok(Verdict::Taken) => self.attempt().await,
            Ok(verdict) => self.store.judge(verdict, &self.condition),
            Err(error) => Err(error),
        };
        self.find_out(result).await
    }

    /// Goes on trying where it is not known whether the events are stored.
    async fn find_out(&self, result: Result<Appended, Error>) -> Result<Appended, Error> {
        match result {
            Err(error) if error.is_outcome_unknown() && self.store.retry.attempts() > 1 => {
                self.uncertain.store(true, Ordering::Relaxed);
                self.tries(SCOPE, Error::is_outcome_unknown).await
            }
            result => result,
        }
    }

    /// Returns how many events were not in the log before.
    pub(super) fn new_events(&self, appended: &Appended) -> u64 {
        if appended.is_repeat() { 0 } else { self.events.len() as u64 }
    }

    async fn tries(
        &self,
        scope: &'static str,
        again: impl Fn(&Error) -> bool,
    ) -> Result<Appended, Error> {
        self.store.try_until_known(scope, self.started, again, || self.attempt()).await
    }

    async fn attempt(&self) -> Result<Appended, Error> {
        let limit = Limit::new(&self.store.retry, self.started);
        let uncertain = self.uncertain.load(Ordering::Relaxed);
        let verdict = match uncertain {
            true => self.transact(Occasion::Repeated, limit).await,
            false => match self.transact(Occasion::First, limit).await {
                Ok(Verdict::Taken) => self.transact(Occasion::Repeated, limit).await,
                verdict => verdict,
            },
        };
        match verdict.and_then(|verdict| self.store.judge(verdict, &self.condition)) {
            Err(error) if error.is_outcome_unknown() => {
                self.uncertain.store(true, Ordering::Relaxed);
                Err(error)
            }
            // An earlier try may still be on its way. Only where it cannot be accepted any more,
            // whenever it comes, is this one's refusal the answer.
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

    async fn transact(&self, occasion: Occasion, limit: Limit) -> Result<Verdict, Error> {
        let appender = self.store.shared.appender.as_ref();
        let appender = appender.expect("a read-write store has an appender");
        let (events, condition) = (self.events.clone(), self.condition.clone());
        appender.append(Request::new(events, condition, occasion), limit).await
    }
}

/// What the tries of appends are counted under.
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

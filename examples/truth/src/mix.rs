//! Clients that make every kind of call, with every outcome.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use eddyline::{
    AppendCondition, Bookmark, Decided, Decision, Error, Event, History, Mode, ReadOnly, ReadWrite,
    RetryPolicy, Store,
};
use fastrand::Rng;
use futures_util::TryStreamExt;
use tokio::runtime::Handle;
use tokio::task::block_in_place;
use tokio::time::{Instant, timeout};

use crate::boundary::{loan, loans_of};
use crate::calls::Calls;
use crate::stores::{ROUNDS_BEFORE_LOCK, Stores, names};

/// A client that makes calls, one after the other.
#[derive(Debug)]
pub struct MixClient {
    stores: Stores,
    calls: Calls,
    random: Rng,
    /// The events of the client's last append.
    last: Option<(Event, Bookmark)>,
    hasty: Store<ReadWrite>,
    once: Store<ReadWrite>,
    patient: Store<ReadWrite>,
}

impl MixClient {
    /// Creates a client.
    ///
    /// # Errors
    ///
    /// Does not fail.
    pub fn new(stores: &Stores, calls: &Calls, number: u64) -> Result<Self, Error> {
        let hasty = RetryPolicy::builder()
            .attempts(2)
            .base_delay(Duration::from_millis(1))
            .attempt_timeout(HASTY)
            .deadline(3 * HASTY)
            .no_budget()
            .build()?;
        let patient = RetryPolicy::builder().attempts(2).no_attempt_timeout().no_deadline();
        let patient = patient.base_delay(Duration::from_millis(1)).no_budget().build()?;
        let once = RetryPolicy::builder().attempts(1).attempt_timeout(HASTY).build()?;
        Ok(Self {
            hasty: stores.unsteady.with_retry_policy(hasty),
            once: stores.unsteady.with_retry_policy(once),
            patient: stores.unsteady.with_retry_policy(patient),
            stores: stores.clone(),
            calls: calls.clone(),
            random: Rng::with_seed(number),
            last: None,
        })
    }

    /// Makes calls until a time.
    ///
    /// # Errors
    ///
    /// Does not fail: the errors of calls are counted.
    pub async fn run(mut self, end: Instant) -> Result<(), Error> {
        while Instant::now() < end {
            self.call().await?;
        }
        Ok(())
    }

    /// Makes one of the calls by chance. The errors of the store are outcomes of the call.
    async fn call(&mut self) -> Result<(), Error> {
        let book = self.random.u32(0..BOOKS);
        match self.random.u32(0..100) {
            0..20 => self.query(book).await,
            20..40 => self.append(book).await,
            40..45 => self.conditional(book, false).await,
            45..50 => self.conditional(book, true).await,
            50..53 => self.repeat().await,
            53..54 => self.invalid().await,
            54..58 => self.head_and_event().await,
            58..63 => self.stream(book, false).await,
            63..65 => self.stream(book, true).await,
            65..75 => self.read_replica(book).await,
            75..79 => self.read_after_append(book).await,
            79..88 => self.decide(book % HOT_BOOKS).await,
            88..94 => self.cancel(book).await,
            94..97 => self.time_out(book).await,
            _ => self.retry(book).await,
        }
    }

    async fn query(&self, book: u32) -> Result<(), Error> {
        let read = self.stores.calls.query(loans_of(book)?);
        let history = self.calls.observe(names::CALLS, "query", read).await;
        note_read(&self.calls, names::CALLS, &history);
        Ok(())
    }

    async fn append(&mut self, book: u32) -> Result<(), Error> {
        let events: Vec<_> =
            (0..self.random.usize(1..4)).map(|_| loan(book)).collect::<Result<_, _>>()?;
        let event = events[0].clone();
        let count = events.len() as u64;
        let append = self.stores.calls.append(events, AppendCondition::none());
        if let Ok(appended) = self.calls.observe(names::CALLS, "append", append).await {
            count_events(&self.calls, names::CALLS, "appended", count);
            if count == 1 {
                self.last = Some((event, appended.bookmark()));
            }
        }
        Ok(())
    }

    /// Appends on the condition of a history, which is out of date if `is_old`.
    async fn conditional(&self, book: u32, is_old: bool) -> Result<(), Error> {
        let store = &self.stores.calls;
        let read = self.calls.observe(names::CALLS, "query", store.query(loans_of(book)?)).await;
        note_read(&self.calls, names::CALLS, &read);
        let Ok(history) = read else { return Ok(()) };
        if is_old {
            let append = store.append([loan(book)?], AppendCondition::none());
            if self.calls.observe(names::CALLS, "append", append).await.is_ok() {
                count_events(&self.calls, names::CALLS, "appended", 1);
            }
        }
        let append = store.append([loan(book)?], history.condition());
        match self.calls.observe(names::CALLS, "append", append).await {
            Ok(_) => count_events(&self.calls, names::CALLS, "appended", 1),
            Err(error) if error.is_conflict() => {
                let labels = [("store", names::CALLS)];
                self.calls.count("eventstore_conflicts_total", &labels, 1);
            }
            Err(_) => {}
        }
        Ok(())
    }

    /// Appends again what is stored already, which succeeds and stores nothing.
    async fn repeat(&self) -> Result<(), Error> {
        if let Some((event, _)) = &self.last {
            let append = self.stores.calls.append([event.clone()], AppendCondition::none());
            // The error is counted.
            let _ = self.calls.observe(names::CALLS, "append", append).await;
        }
        Ok(())
    }

    async fn invalid(&self) -> Result<(), Error> {
        let append = self.stores.calls.append([], AppendCondition::none());
        // The error is counted.
        let _ = self.calls.observe(names::CALLS, "append", append).await;
        Ok(())
    }

    async fn head_and_event(&self) -> Result<(), Error> {
        let _ = self.calls.observe(names::CALLS, "head", self.stores.calls.head()).await;
        if let Some((event, _)) = &self.last {
            let read = self.stores.calls.event(event.id());
            if let Ok(Some(_)) = self.calls.observe(names::CALLS, "query", read).await {
                count_events(&self.calls, names::CALLS, "read", 1);
            }
        }
        Ok(())
    }

    /// Reads a stream, or only its first events if it `is_dropped`.
    async fn stream(&self, book: u32, is_dropped: bool) -> Result<(), Error> {
        let clock = self.calls.begin(names::CALLS, "stream");
        let mut read = 0;
        let streamed = async {
            let mut events = self.stores.calls.stream(loans_of(book)?).await?;
            while events.try_next().await?.is_some() {
                read += 1;
                if is_dropped && read == 2 {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        let ended = streamed.await;
        match &ended {
            Ok(false) => drop(clock),
            _ => clock.end(&ended),
        }
        count_events(&self.calls, names::CALLS, "read", read);
        Ok(())
    }

    async fn read_replica(&self, book: u32) -> Result<(), Error> {
        let read = self.stores.replicas.query(loans_of(book)?);
        let history = self.calls.observe(names::REPLICAS, "query", read).await;
        note_read(&self.calls, names::REPLICAS, &history);
        note_server(&self.calls, names::REPLICAS, &history);
        Ok(())
    }

    /// Appends, and reads at that position.
    async fn read_after_append(&mut self, book: u32) -> Result<(), Error> {
        self.append(book).await?;
        let Some((_, position)) = &self.last else { return Ok(()) };
        let (store, name) = match self.random.bool() {
            true => (&self.stores.fallback, names::FALLBACK),
            false => (&self.stores.replicas, names::REPLICAS),
        };
        let store = store.at_least(*position);
        let history = self.calls.observe(name, "query", store.query(loans_of(book)?)).await;
        note_read(&self.calls, name, &history);
        note_server(&self.calls, name, &history);
        if let Ok(history) = &history
            && history.served_by().name() == "primary"
        {
            self.calls.count("eventstore_replica_fallbacks_total", &[("store", name)], 1);
        }
        Ok(())
    }

    /// Decides on a book that others append to. Some decisions append nothing, and some lose rounds.
    async fn decide(&mut self, book: u32) -> Result<(), Error> {
        let (appends, loses) = (self.random.bool(), self.random.u8(0..8) == 0);
        let rounds_to_lose = if loses { ROUNDS_BEFORE_LOCK } else { 0 };
        let (rounds, read) = (AtomicU64::new(0), AtomicU64::new(0));
        let store = self.stores.decisions.with_scope(DECISION_SCOPE);
        let filter = loans_of(book)?;
        let decided = store.decide(&filter, |history| {
            read.fetch_add(history.events().len() as u64, Ordering::Relaxed);
            if rounds.fetch_add(1, Ordering::Relaxed) < rounds_to_lose {
                // The round is lost: this append is committed before that of the decision.
                block_in_place(|| Handle::current().block_on(self.append_one(book)))?;
            }
            if !appends && !loses {
                return Ok::<_, Error>(Decision::nothing());
            }
            Ok(Decision::append([loan(book)?]))
        });
        let decided = decided.await;
        count_decision(&self.calls, &decided, rounds.into_inner(), read.into_inner());
        Ok(())
    }

    async fn append_one(&self, book: u32) -> Result<(), Error> {
        let append = self.stores.calls.append([loan(book)?], AppendCondition::none());
        self.calls.observe(names::CALLS, "append", append).await?;
        count_events(&self.calls, names::CALLS, "appended", 1);
        Ok(())
    }

    /// Drops a call after a moment.
    async fn cancel(&mut self, book: u32) -> Result<(), Error> {
        let moment = Duration::from_millis(self.random.u64(0..3));
        let store = &self.stores.unsteady;
        // A call that ends in time is counted by its outcome.
        if self.random.bool() {
            let read = self.calls.observe(names::UNSTEADY, "query", store.query(loans_of(book)?));
            let _ = timeout(moment, read).await;
        } else {
            let append = store.append([loan(book)?], AppendCondition::none());
            let _ = timeout(moment, self.calls.observe(names::UNSTEADY, "append", append)).await;
        }
        Ok(())
    }

    /// Makes a call that times out if the table is locked.
    async fn time_out(&mut self, book: u32) -> Result<(), Error> {
        // The error is counted.
        if self.random.bool() {
            let read = self.hasty.query(loans_of(book)?);
            let _ = self.calls.observe(names::UNSTEADY, "query", read).await;
        } else {
            let append = self.hasty.append([loan(book)?], AppendCondition::none());
            let _ = self.calls.observe(names::UNSTEADY, "append", append).await;
        }
        Ok(())
    }

    /// Retries a read in the program's own closure.
    async fn retry(&self, book: u32) -> Result<(), Error> {
        let filter = loans_of(book)?;
        let attempts = AtomicU64::new(0);
        let patient = self.patient.with_scope(RETRY_SCOPE);
        let attempt = async || {
            attempts.fetch_add(1, Ordering::Relaxed);
            self.calls.observe(names::UNSTEADY, "query", self.once.query(&filter)).await
        };
        // A read that timed out may be made again.
        let retried =
            patient.retry(attempt).when(|error| error.is_transient() || error.is_timeout());
        let result = retried.await.into_result();
        let attempts = attempts.into_inner();
        let outcome = match (&result, attempts) {
            (Ok(_), 1) => "first_try",
            (Ok(_), _) => "recovered",
            (Err(_), _) => "exhausted",
        };
        let scope = [("store", names::UNSTEADY), ("scope", RETRY_SCOPE)];
        let labels = [scope[0], scope[1], ("outcome", outcome)];
        self.calls.count("eventstore_retry_outcomes_total", &labels, 1);
        self.calls.count("eventstore_retry_attempts_total", &scope, attempts.saturating_sub(1));
        Ok(())
    }
}

/// Counts a decision, the rounds in which it read, and the events that it read in them.
fn count_decision(calls: &Calls, decided: &Result<Decided, Error>, rounds: u64, read: u64) {
    const STORE: &str = names::DECISIONS;
    let labels = [("store", STORE), ("scope", DECISION_SCOPE)];
    calls.count("eventstore_decide_rounds_count", &labels, 1);
    count_events(calls, STORE, "read", read);
    let Ok(decided) = decided else { return };
    if decided.appended().is_some() {
        count_events(calls, STORE, "appended", 1);
    }
    let (lost, escalated) = (u64::from(decided.conflicts()), u64::from(decided.is_escalated()));
    calls.count("eventstore_decide_rounds_sum", &labels, lost);
    calls.count("eventstore_conflicts_total", &labels, lost);
    calls.count("eventstore_decide_escalations_total", &labels, escalated);
    let repeated = u64::from(decided.attempts() - 1);
    calls.count("eventstore_retry_attempts_total", &labels, repeated);
    // Each round under the log's lock is an operation of its own; the others are a query each.
    let outcomes = "eventstore_operation_outcomes_total";
    let success = |operation| [("store", STORE), ("operation", operation), ("outcome", "success")];
    calls.count(outcomes, &success("decide"), escalated);
    calls.count(outcomes, &success("query"), rounds - escalated);
}

fn count_events(calls: &Calls, store: &'static str, direction: &str, events: u64) {
    let labels = [("store", store), ("direction", direction)];
    calls.count("eventstore_events_total", &labels, events);
}

fn note_read<M: Mode>(calls: &Calls, store: &'static str, read: &Result<History<M>, Error>) {
    if let Ok(history) = read {
        count_events(calls, store, "read", history.events().len() as u64);
    }
}

/// Counts which server answered.
fn note_server(calls: &Calls, store: &'static str, read: &Result<History<ReadOnly>, Error>) {
    if let Ok(history) = read {
        let labels =
            [("store", store), ("outcome", "success"), ("server", history.served_by().name())];
        calls.count("eventstore_operation_outcomes_total", &labels, 1);
    }
}

/// The scope of the decisions.
pub const DECISION_SCOPE: &str = "lend";
/// The scope of the program's own retries.
pub const RETRY_SCOPE: &str = "patient";
const BOOKS: u32 = 200;
/// The books that decisions are about.
const HOT_BOOKS: u32 = 4;
/// The timeout of an attempt that fails while the table is locked.
const HASTY: Duration = Duration::from_millis(20);

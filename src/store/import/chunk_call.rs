use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::imported::ChunkStored;
use crate::pool::ConnectionId;
use crate::sql::{BoundCheck, HeldEvent, Precondition};
use crate::store::Store;
use crate::store::deadline::AttemptDeadline;
use crate::store::failure::{AppendFailure, may_follow_commit, outcome_unknown, with_event_ids};
use crate::store::read_request::require_reached;
use crate::store::staged::StagedAppend;
use crate::telemetry::{OperationHandle, OperationPhase};
use crate::{Bookmark, Error, Event, ReadWrite, SequenceNumber};

/// A call that stores a chunk, with all of its attempts.
pub(super) struct ChunkCall<'a> {
    store: &'a Store<ReadWrite>,
    operation: &'a OperationHandle,
    events: &'a [Event],
    /// The highest position of the former chunks of the import.
    former: Bookmark,
    started: Instant,
    state: Mutex<ChunkState>,
}

/// The findings of the attempts to store a chunk.
#[derive(Clone, Copy)]
struct ChunkState {
    /// Whether the log probably holds events of the chunk already.
    expects_held: bool,
    /// A head from before the first attempt that may have stored events of the chunk. Those that
    /// the log holds above it count as stored by this import. `None` before such an attempt.
    floor: Option<SequenceNumber>,
}

impl<'a> ChunkCall<'a> {
    pub(super) fn new(
        store: &'a Store<ReadWrite>,
        operation: &'a OperationHandle,
        events: &'a [Event],
        former: Bookmark,
        expects_held: bool,
    ) -> Self {
        let state = Mutex::new(ChunkState { expects_held, floor: None });
        Self { store, operation, events, former, started: Instant::now(), state }
    }

    /// Makes attempts until the chunk is stored or the retry policy allows no more.
    pub(super) async fn run(&self) -> Result<ChunkStored, Error> {
        let scope = self.store.scope_or(super::SCOPE);
        let call = self.store.shared.telemetry.retry(scope).of_operation(self.operation);
        let is_retried = |error: &Error| error.is_outcome_unknown() || error.is_repeatable();
        self.store.retry_until_known(call, self.started, is_retried, || self.attempt()).await
    }

    async fn attempt(&self) -> Result<ChunkStored, Error> {
        let deadline = self.store.attempt_deadline(self.started).extend_to_call();
        let result = Box::pin(self.store_new(deadline)).await;
        // Read after the attempt, which may have stored events itself and failed later.
        let has_unknown_attempt = self.state().floor.is_some();
        match result {
            Err(error) if error.is_outcome_unknown() => Err(error),
            // Another attempt would find the same.
            Err(error @ (Error::DuplicateEvent { .. } | Error::PositionLost { .. })) => Err(error),
            // An earlier attempt may still arrive at the server and be accepted. SAFETY.md, G5.
            Err(error) if has_unknown_attempt => {
                Err(outcome_unknown(&self.store.first_server(), self.events, error))
            }
            result => result,
        }
    }

    /// Stores the events that the log does not hold yet.
    async fn store_new(&self, deadline: AttemptDeadline) -> Result<ChunkStored, Error> {
        let shared = &self.store.shared;
        let pool = self.store.primary_pool();
        loop {
            deadline.check(pool.server())?;
            let ChunkState { expects_held, floor } = self.state();
            let held = match expects_held || floor.is_some() {
                true => self.find_held(deadline).await?,
                false => Vec::new(),
            };
            let events = self.events_without(&held);
            if events.is_empty() {
                let Some(position) = self.join(&held, Bookmark::default(), deadline).await? else {
                    continue;
                };
                return Ok(chunk_stored(&held, floor, &[], position));
            }
            self.operation.enter(OperationPhase::Acquire);
            let mut lease = deadline.acquire(pool).await?;
            let staged = StagedAppend {
                log: &shared.log,
                events: &events,
                precondition: Precondition::None,
                lock_timeout: shared.lock_timeout,
                operation: self.operation,
            };
            let answer = staged.run(&mut lease, deadline).await;
            match answer.result {
                Ok(stored) => {
                    let last = stored.last();
                    shared.log.note_newest(last);
                    if let Some(position) = self.join(&held, last, deadline).await? {
                        self.store.note_appended(position);
                        return Ok(chunk_stored(&held, floor, &stored.numbers, position));
                    }
                }
                Err(AppendFailure::IdTaken) => self.change(|state| state.expects_held = true),
                Err(AppendFailure::Error(error)) => {
                    let id = lease.own_id();
                    drop(lease);
                    self.check_failure(error, answer.floor, id, &events, deadline).await?;
                }
            }
        }
    }

    /// Returns the events of the chunk that the log holds. One with other contents is an error.
    async fn find_held(&self, deadline: AttemptDeadline) -> Result<Vec<HeldEvent>, Error> {
        let held =
            self.store.shared.searcher().held_events(self.events, self.operation, deadline).await?;
        match held.iter().find(|held| !held.is_same) {
            Some(other) => {
                let event_id = self.events[other.index].id();
                let position = other.position.position();
                Err(Error::DuplicateEvent { event_id, position })
            }
            None => Ok(held),
        }
    }

    /// Returns the highest position of the chunk and the former ones. The log held some events of
    /// the chunk before, and has stored the others now. Returns `None` if a failover has lost some
    /// of the chunk since. Fails if it has lost some of the former chunks.
    async fn join(
        &self,
        held: &[HeldEvent],
        stored: Bookmark,
        deadline: AttemptDeadline,
    ) -> Result<Option<Bookmark>, Error> {
        let held = held.iter().map(|held| held.position).max_by_key(|one| one.position());
        let seen = [self.former, held.unwrap_or_default(), stored];
        let highest = seen.into_iter().max_by_key(|one| one.position()).unwrap_or_default();
        let mut epochs = seen.iter().filter_map(|one| one.epoch());
        if epochs.all(|epoch| Some(epoch) == highest.epoch()) {
            return Ok(Some(highest));
        }
        // The chunk is stored. If this fails, another attempt has to find it.
        self.note_floor(Some(stored.position()));
        let searcher = self.store.shared.searcher();
        let (head, check) = searcher.check(&[self.former], self.operation, deadline).await?;
        let server = self.store.first_server();
        require_reached(check, &[self.former], head.position(), &server)?;
        // Lemma 8: the log has the events up to all of them, so up to the highest in its own epoch.
        let (head, check) = searcher.check(&seen, self.operation, deadline).await?;
        Ok((check == BoundCheck::Reached).then(|| head.at(highest.position())))
    }

    fn events_without(&self, held: &[HeldEvent]) -> Vec<Event> {
        let held: HashSet<usize> = held.iter().map(|held| held.index).collect();
        let events = self.events.iter().enumerate();
        let new = events.filter(|(index, _)| !held.contains(index));
        new.map(|(_, event)| event.clone()).collect()
    }

    /// Returns the error of an attempt, unless the log holds the events that the attempt sent. Then
    /// the caller goes on with those that the log does not hold.
    async fn check_failure(
        &self,
        error: Error,
        floor: Option<SequenceNumber>,
        connection: Option<ConnectionId>,
        sent: &[Event],
        deadline: AttemptDeadline,
    ) -> Result<(), Error> {
        // Behind a pooler the call commits itself, so an error may follow the commit.
        let may_have_committed = connection.is_none() && may_follow_commit(&error);
        if !may_have_committed {
            if error.is_outcome_unknown() {
                self.note_floor(floor);
            }
            return Err(with_event_ids(error, self.events));
        }
        match self.store.shared.searcher().held_events(sent, self.operation, deadline).await {
            // The server has answered, so the call has ended: it has stored nothing.
            Ok(held) if held.is_empty() => Err(error),
            Ok(_) => {
                self.note_floor(floor);
                Ok(())
            }
            Err(_) => {
                self.note_floor(floor);
                Err(outcome_unknown(&self.store.first_server(), self.events, error))
            }
        }
    }

    /// Notes that an attempt may have stored events above this head.
    fn note_floor(&self, floor: Option<SequenceNumber>) {
        self.change(|state| state.floor = state.floor.or(floor));
    }

    fn state(&self) -> ChunkState {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut ChunkState)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Returns the outcome of a chunk. Events that the log held already count as stored by this import
/// if they lie above the floor: the log's head before the first attempt that may have stored them.
fn chunk_stored(
    held: &[HeldEvent],
    floor: Option<SequenceNumber>,
    numbers: &[SequenceNumber],
    position: Bookmark,
) -> ChunkStored {
    let is_own = |position: &SequenceNumber| floor.is_some_and(|floor| *position > floor);
    let held = held.iter().map(|held| held.position.position());
    let own: Vec<_> = held.filter(is_own).chain(numbers.iter().copied()).collect();
    let (first, last) = (own.iter().min().copied(), own.iter().max().copied());
    ChunkStored { stored: own.len() as u64, first, last, position }
}

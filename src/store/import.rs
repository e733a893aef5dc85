use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::future::IntoFuture;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::sync::{Mutex, PoisonError};

use futures_core::Stream;
use futures_util::StreamExt;
use futures_util::future::try_join;
use tokio::task::coop::consume_budget;
use tokio::time::Instant;

use super::Store;
use super::deadline::AttemptDeadline;
use super::failure::{follows_commit, outcome_unknown};
use super::log::bytes_of;
use super::staged::{StagedAppend, StagedFailure};
use crate::imported::ChunkStored;
use crate::imported::{ImportError, Importable, Imported};
use crate::limits::MAX_APPEND_EVENTS;
use crate::sql::{HeldEvent, Precondition};
use crate::telemetry::{Operation, OperationName};
use crate::{Error, Event, ReadWrite, SequenceNumber};

impl Store<ReadWrite> {
    /// Appends all events of a stream, unconditionally and in its order, in chunks.
    ///
    /// Each chunk is a transaction: it is stored wholly or not at all, and the appends of others
    /// may come between two. Those see its events as they do any append's, and lose to them where
    /// their condition says so. A chunk is sent to the server before it takes the log's lock, so
    /// that others wait for its being stored and never for its being sent.
    ///
    /// The next chunk is read while one is being stored, and no more: a stream of any length needs
    /// the memory of two chunks. A chunk is stored when it is full or the stream has ended.
    ///
    /// The stream yields events, or results with an event; the first error ends the import, after
    /// all events before it are stored.
    ///
    /// # Nothing twice
    ///
    /// An event that the log holds already is skipped, and so is one whose id came earlier in the
    /// stream. An event with the id of another one and with other contents ends the import.
    /// So an import that was interrupted, by whatever, is just run again with the same events (with
    /// the same ids), or with those from [`Imported::read`] on. The events that it stores
    /// are in the order of the stream; those that it passes over stay where they are.
    ///
    /// What may be tried again is, chunk by chunk, as the store's
    /// [`RetryPolicy`](crate::RetryPolicy) says: its attempts and its deadline are those of one
    /// chunk. Each attempt has the time up to that deadline; if there is none, that of an attempt. The
    /// import as a whole may take as long as it takes.
    ///
    /// ```no_run
    /// # use eddyline::{Error, Event, ReadWrite, Store};
    /// use futures_util::stream;
    ///
    /// # async fn take_over(writer: Store<ReadWrite>, events: Vec<Event>) -> Result<(), Error> {
    /// let imported = writer
    ///     .import(stream::iter(events))
    ///     .on_progress(|so_far| println!("{} stored, at {}", so_far.stored(), so_far.position()))
    ///     .await?;
    /// println!("{} of {} were there already", imported.skipped(), imported.read());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ImportError::Source`] with what the stream yielded, [`ImportError::Store`] where a chunk
    /// cannot be stored: with [`Error::InvalidConfig`] where the size of chunks is not allowed, and
    /// with those of an unconditional [`append`](Self::append): [`Error::DuplicateEvent`] if the id of
    /// an event is that of one with other contents, in the log or earlier in the stream. Both say how far
    /// the import has come. After [`Error::OutcomeUnknown`] the chunk may be stored; the same import, run
    /// again, finds out.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has stored whole chunks, in order; the last one perhaps a moment later. The same
    /// import, run again, stores the rest.
    pub fn import<S>(&self, events: S) -> Import<'_, S>
    where
        S: Stream<Item: Importable>,
    {
        Import { store: self, events, chunk: CHUNK, progress: |_| () }
    }
}

/// Is an import that is yet to be awaited. Made by [`Store::import`].
#[must_use = "an import does nothing unless it is awaited"]
pub struct Import<'a, S, P = fn(&Imported)> {
    store: &'a Store<ReadWrite>,
    events: S,
    chunk: usize,
    progress: P,
}

impl<'a, S, P> Import<'a, S, P> {
    /// Sets how many events are stored at once: 1 to [`MAX_APPEND_EVENTS`].
    /// Defaults to 1,000. A chunk is full before that where its events come to 8 MiB of JSON.
    ///
    /// Appends of others wait while a chunk is being stored: the larger it is, the longer. Larger
    /// chunks were measured to store hardly more events per second.
    pub fn chunk(self, events: usize) -> Self {
        Self { chunk: events, ..self }
    }

    /// Tells somebody, after each chunk, how far the import has come. Defaults to nobody.
    pub fn on_progress<X>(self, progress: X) -> Import<'a, S, X>
    where
        X: FnMut(&Imported),
    {
        let Self { store, events, chunk, progress: _ } = self;
        Import { store, events, chunk, progress }
    }
}

impl<'a, S, P> IntoFuture for Import<'a, S, P>
where
    S: Stream<Item: Importable<Error: Send>> + Send + 'a,
    P: FnMut(&Imported) + Send + 'a,
{
    type Output = Result<Imported, ImportError<<S::Item as Importable>::Error>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl<S, P> Import<'_, S, P>
where
    S: Stream<Item: Importable>,
    P: FnMut(&Imported),
{
    async fn run(self) -> Result<Imported, ImportError<<S::Item as Importable>::Error>> {
        let mut operation = self.store.operation(OperationName::Import);
        let mut so_far = Imported::default();
        match self.store_all(&mut operation, &mut so_far).await {
            Ok(End::Over) => {
                operation.succeed();
                Ok(so_far)
            }
            // The operation was not at fault: whoever asked for it ended it.
            Ok(End::Failed(source)) => Err(ImportError::Source { so_far, source }),
            Err((chunk, source)) => {
                operation.fail(&source);
                Err(ImportError::Store { so_far, chunk, source })
            }
        }
    }

    /// Stores chunk after chunk; returns how the source ended, or which chunk could not be stored.
    async fn store_all(
        self,
        operation: &mut Operation,
        so_far: &mut Imported,
    ) -> Result<End<<S::Item as Importable>::Error>, (Range<u64>, Error)> {
        let Self { store, events, chunk: size, mut progress } = self;
        if !(1..=MAX_APPEND_EVENTS).contains(&size) {
            let reason = format!("is {size}, allowed are 1 to {MAX_APPEND_EVENTS} events");
            return Err((0..0, Error::invalid_config("chunk", reason)));
        }
        let mut source = pin!(events);
        let mut expects_held = false;
        let mut chunk = Chunk::read(source.as_mut(), size, None).await;
        loop {
            let Chunk { events, read, end, next } = chunk;
            let storing = async {
                if read > 0 {
                    let stored = ChunkCall::new(store, &events, expects_held).run().await;
                    let first = so_far.read();
                    let stored = stored.map_err(|error| (first..first + read, error))?;
                    expects_held = stored.stored < events.len() as u64;
                    operation.count_appended(stored.stored);
                    so_far.add(read, &stored);
                    progress(so_far);
                }
                Ok(())
            };
            if let Some(end) = end {
                return storing.await.map(|()| end);
            }
            let reading = async { Ok(Chunk::read(source.as_mut(), size, next).await) };
            chunk = try_join(storing, reading).await?.1;
        }
    }
}

impl<S, P> fmt::Debug for Import<'_, S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Import")
            .field("store", self.store)
            .field("chunk", &self.chunk)
            .finish_non_exhaustive()
    }
}

/// Events that are stored at once, no two of the same id.
struct Chunk<E> {
    events: Vec<Event>,
    /// How many were read, those that came before included.
    read: u64,
    /// Why no chunk follows.
    end: Option<End<E>>,
    /// The first event of the next chunk, if it was read already.
    next: Option<Event>,
}

/// How a source ended.
enum End<E> {
    Failed(E),
    Over,
}

impl<E> Chunk<E> {
    /// Reads a chunk that begins with an event which was read before, if there is one.
    ///
    /// An event that has the id of another one of the chunk and other contents begins the next chunk, so
    /// that the server compares the two.
    async fn read<S>(mut source: Pin<&mut S>, size: usize, mut first: Option<Event>) -> Self
    where
        S: Stream<Item: Importable<Error = E>>,
    {
        let mut chunk = Self { events: Vec::new(), read: 0, end: None, next: None };
        let (mut ids, mut bytes) = (HashMap::new(), 0);
        while chunk.read < size as u64 && bytes < CHUNK_BYTES {
            // Of a source that is always ready, the whole chunk would be read before the one that
            // is being stored came to its turn.
            consume_budget().await;
            let item = match first.take() {
                Some(event) => Some(Ok(event)),
                None => source.next().await.map(Importable::into_event),
            };
            let event = match item {
                None => {
                    chunk.end = Some(End::Over);
                    break;
                }
                Some(Err(error)) => {
                    chunk.end = Some(End::Failed(error));
                    break;
                }
                Some(Ok(event)) => event,
            };
            match ids.entry(event.id()) {
                Entry::Occupied(twin) if chunk.events[*twin.get()] != event => {
                    chunk.next = Some(event);
                    break;
                }
                Entry::Occupied(_) => {}
                Entry::Vacant(free) => {
                    free.insert(chunk.events.len());
                    bytes += bytes_of([&event]);
                    chunk.events.push(event);
                }
            }
            chunk.read += 1;
        }
        chunk
    }
}

/// The storing of a chunk, with all of its attempts.
struct ChunkCall<'a> {
    store: &'a Store<ReadWrite>,
    events: &'a [Event],
    started: Instant,
    state: Mutex<ChunkState>,
}

/// What the attempts to store a chunk have found out.
#[derive(Clone, Copy)]
struct ChunkState {
    /// Whether the log is likely to hold events of the chunk already.
    expects_held: bool,
    /// The log's head before the first attempt that may have stored events of the chunk.
    floor: Option<SequenceNumber>,
}

impl<'a> ChunkCall<'a> {
    fn new(store: &'a Store<ReadWrite>, events: &'a [Event], expects_held: bool) -> Self {
        let state = Mutex::new(ChunkState { expects_held, floor: None });
        Self { store, events, started: Instant::now(), state }
    }

    async fn run(&self) -> Result<ChunkStored, Error> {
        let scope = self.store.scope_or("import");
        let again = |error: &Error| error.is_outcome_unknown() || error.is_repeatable();
        self.store.try_until_known(scope, self.started, again, || self.attempt()).await
    }

    async fn attempt(&self) -> Result<ChunkStored, Error> {
        let deadline = AttemptDeadline::new(&self.store.retry, self.started).extend_to_call();
        let is_uncertain = self.state().floor.is_some();
        match Box::pin(self.store_new(deadline)).await {
            Err(error) if error.is_outcome_unknown() => Err(error),
            // An earlier attempt may still be on its way, and be accepted.
            Err(error) if is_uncertain && !matches!(error, Error::DuplicateEvent { .. }) => {
                Err(outcome_unknown(self.store.first().server(), self.events, error))
            }
            result => result,
        }
    }

    /// Stores the events that the log does not hold yet.
    async fn store_new(&self, deadline: AttemptDeadline) -> Result<ChunkStored, Error> {
        let shared = &self.store.shared;
        let pool = self.store.first();
        loop {
            deadline.check(pool.server())?;
            let ChunkState { expects_held, floor } = self.state();
            let held = match expects_held || floor.is_some() {
                true => shared.searches().held_events(self.events, deadline).await?,
                false => Vec::new(),
            };
            if let Some(other) = held.iter().find(|held| !held.is_same) {
                let event_id = self.events[other.index].id();
                return Err(Error::DuplicateEvent { event_id, position: other.position });
            }
            let known: HashSet<usize> = held.iter().map(|held| held.index).collect();
            let events = self.events.iter().enumerate();
            let events = events.filter(|(index, _)| !known.contains(index));
            let events: Vec<Event> = events.map(|(_, event)| event.clone()).collect();
            if events.is_empty() {
                return Ok(chunk_stored(&held, floor, &[]));
            }
            let mut lease = deadline.run_against(pool.server(), pool.acquire()).await?;
            let staged = StagedAppend {
                log: &shared.log,
                events: &events,
                precondition: Precondition::None,
                lock_timeout: shared.lock_timeout,
            };
            let answer = staged.run(&mut lease, deadline).await;
            match answer.result {
                Ok(stored) => {
                    let stored = chunk_stored(&held, floor, &stored.numbers);
                    shared.log.note_newest(stored.position);
                    return Ok(stored);
                }
                Err(StagedFailure::IdTaken) => self.change(|state| state.expects_held = true),
                Err(StagedFailure::Error(error)) => {
                    // Behind a pooler the call commits itself.
                    let may_be_stored = lease.own_id().is_none() && follows_commit(&error);
                    drop(lease);
                    if may_be_stored || error.is_outcome_unknown() {
                        self.change(|state| state.floor = state.floor.or(answer.floor));
                    }
                    return Err(match error {
                        Error::OutcomeUnknown { source, .. } => {
                            outcome_unknown(pool.server(), self.events, source)
                        }
                        error if may_be_stored => {
                            match shared.searches().held_events(&events, deadline).await {
                                Ok(held) if held.is_empty() => error,
                                Ok(_) => continue,
                                Err(_) => outcome_unknown(pool.server(), self.events, error),
                            }
                        }
                        error => error,
                    });
                }
            }
        }
    }

    fn state(&self) -> ChunkState {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut ChunkState)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Says what a chunk came to. Events that the log held already count as stored by this import, if they
/// lie above its head before the first attempt that may have stored them.
fn chunk_stored(
    held: &[HeldEvent],
    floor: Option<SequenceNumber>,
    numbers: &[SequenceNumber],
) -> ChunkStored {
    let is_own = |position: &SequenceNumber| floor.is_some_and(|floor| *position > floor);
    let held = || held.iter().map(|held| held.position);
    let own = || held().filter(is_own).chain(numbers.iter().copied());
    let last = own().max();
    let position = last.max(held().max()).unwrap_or_default();
    ChunkStored { stored: own().count() as u64, first: own().min(), last, position }
}

/// How many events are stored at once.
const CHUNK: usize = 1_000;

/// From how many bytes of JSON on a chunk is full.
const CHUNK_BYTES: usize = 8 << 20;

use std::collections::HashSet;
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
use super::append::MAX_APPEND_EVENTS;
use super::limit::Limit;
use super::log::{bytes_of, time_to_arrive};
use super::staged::{Staged, Tried};
use super::transact::outcome_unknown;
use crate::import::ChunkStored;
use crate::sql::{self, Staleness, Waits};
use crate::telemetry::{Operation, OperationName};
use crate::{Error, Event, ImportFailed, Importable, Imported, ReadWrite, SequenceNumber};

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
    /// An event whose id is in the log already, wherever it is and whoever stored it, is passed
    /// over, and so is one whose id came earlier in the stream; what else it holds is not compared.
    /// So an import that was interrupted, by whatever, is just run again with the same events (with
    /// the same ids), or with those from [`Imported::read`] on. The events that it stores
    /// are in the order of the stream; those that it passes over stay where they are.
    ///
    /// What may be tried again is, chunk by chunk, as the store's
    /// [`RetryPolicy`](crate::RetryPolicy) says: its attempts and its deadline are those of one
    /// chunk. The import as a whole may take as long as it takes.
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
    /// println!("{} of {} were there already", imported.already(), imported.read());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ImportFailed::Source`] with what the stream yielded, [`ImportFailed::Store`] where a chunk
    /// cannot be stored: with [`Error::InvalidConfig`] where the size of chunks is not allowed, and
    /// with those of an unconditional [`append`](Self::append), but for
    /// [`Error::DuplicateEvent`]. Both say how far the import has come. After
    /// [`Error::OutcomeUnknown`] the chunk may be stored; the same import, run again, finds out.
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
    /// Sets how many events are stored at once: 1 to [`MAX_APPEND_EVENTS`](crate::MAX_APPEND_EVENTS).
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
    type Output = Result<Imported, ImportFailed<<S::Item as Importable>::Error>>;
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
    async fn run(self) -> Result<Imported, ImportFailed<<S::Item as Importable>::Error>> {
        let mut operation = self.store.operation(OperationName::Import);
        let mut so_far = Imported::default();
        match self.store_all(&mut operation, &mut so_far).await {
            Ok(End::Over) => {
                operation.succeed();
                Ok(so_far)
            }
            // The operation was not at fault: whoever asked for it ended it.
            Ok(End::Failed(source)) => Err(ImportFailed::Source { so_far, source }),
            Err((chunk, source)) => {
                operation.fail(&source);
                Err(ImportFailed::Store { so_far, chunk, source })
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
        let mut chunk = Chunk::read(source.as_mut(), size).await;
        loop {
            let Chunk { events, read, end } = chunk;
            let storing = async {
                if read > 0 {
                    let stored = Storing::new(store, &events).run().await;
                    let first = so_far.read();
                    let stored = stored.map_err(|error| (first..first + read, error))?;
                    operation.count_appended(stored.stored);
                    so_far.add(read, &stored);
                    progress(so_far);
                }
                Ok(())
            };
            if let Some(end) = end {
                return storing.await.map(|()| end);
            }
            let reading = async { Ok(Chunk::read(source.as_mut(), size).await) };
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
}

/// How a source ended.
enum End<E> {
    Failed(E),
    Over,
}

impl<E> Chunk<E> {
    async fn read<S>(mut source: Pin<&mut S>, size: usize) -> Self
    where
        S: Stream<Item: Importable<Error = E>>,
    {
        let mut chunk = Self { events: Vec::new(), read: 0, end: None };
        let (mut ids, mut bytes) = (HashSet::new(), 0);
        while chunk.read < size as u64 && bytes < CHUNK_BYTES {
            // Of a source that is always ready, the whole chunk would be read before the one that
            // is being stored came to its turn.
            consume_budget().await;
            match source.next().await.map(Importable::into_event) {
                None => chunk.end = Some(End::Over),
                Some(Err(error)) => chunk.end = Some(End::Failed(error)),
                Some(Ok(event)) => {
                    chunk.read += 1;
                    if ids.insert(event.id()) {
                        bytes += bytes_of([&event]);
                        chunk.events.push(event);
                    }
                    continue;
                }
            }
            break;
        }
        chunk
    }
}

/// The storing of a chunk, with all of its tries.
struct Storing<'a> {
    store: &'a Store<ReadWrite>,
    events: &'a [Event],
    started: Instant,
    /// Set when a try may have stored the chunk: where the log ended before it.
    floor: Mutex<Option<SequenceNumber>>,
}

impl<'a> Storing<'a> {
    fn new(store: &'a Store<ReadWrite>, events: &'a [Event]) -> Self {
        Self { store, events, started: Instant::now(), floor: Mutex::default() }
    }

    async fn run(&self) -> Result<ChunkStored, Error> {
        let scope = self.store.scope_or("import");
        let again = |error: &Error| error.is_outcome_unknown() || error.is_repeatable();
        self.store.try_until_known(scope, self.started, again, || self.attempt()).await
    }

    async fn attempt(&self) -> Result<ChunkStored, Error> {
        let limit = Limit::new(&self.store.retry, self.started);
        let before = self.floor();
        let Tried { floor, stored } = self.try_once(before, limit).await;
        match stored {
            Err(error) if error.is_outcome_unknown() => {
                self.keep_floor(floor);
                Err(error)
            }
            // An earlier try may still be on its way, and be accepted.
            Err(error) if before.is_some() => {
                Err(outcome_unknown(self.store.first().server(), self.events, error))
            }
            Ok(stored) => {
                self.store.shared.log.note_newest(stored.position);
                Ok(stored)
            }
            Err(error) => Err(error),
        }
    }

    async fn try_once(&self, before: Option<SequenceNumber>, limit: Limit) -> Tried {
        let shared = &self.store.shared;
        let pool = self.store.first();
        let mut lease = match limit.of(pool.server(), pool.acquire()).await {
            Ok(lease) => lease,
            Err(error) => return error.into(),
        };
        let for_lock = limit.lock_timeout(shared.lock_timeout);
        // From here on everything is at the server.
        let waits = Waits { for_lock, for_client: Some(sql::IDLE_TIMEOUT) };
        // Events that are found are the lost try's if they lie above the log's end before it.
        let floor = before.unwrap_or(SequenceNumber::new(u64::MAX));
        let staged = Staged {
            log: &shared.log.name,
            events: self.events,
            lock: sql::lock(&shared.log.name, Staleness::Stale, waits),
            import: sql::import(&shared.log.name, self.events, floor),
            for_client: time_to_arrive(self.events)
                .unwrap_or_default()
                .max(shared.statement_timeout),
        };
        staged.run(&mut lease, limit).await
    }

    fn floor(&self) -> Option<SequenceNumber> {
        *self.floor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the end of the log before the first try that may have stored the chunk.
    fn keep_floor(&self, floor: Option<SequenceNumber>) {
        let mut kept = self.floor.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = kept.or(floor);
    }
}

/// How many events are stored at once.
const CHUNK: usize = 1_000;

/// From how many bytes of JSON on a chunk is full.
const CHUNK_BYTES: usize = 8 << 20;

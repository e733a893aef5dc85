//! Bulk import: a stream of events is appended in chunks.

mod chunk;
mod chunk_call;

use std::fmt;
use std::future::IntoFuture;
use std::ops::Range;
use std::pin::{Pin, pin};

use futures_core::Stream;
use futures_util::future::try_join;

use self::chunk::{Chunk, SourceEnd};
use self::chunk_call::ChunkCall;
use super::Store;
use crate::imported::{ImportError, Importable, Imported};
use crate::limits::MAX_APPEND_EVENTS;
use crate::telemetry::{Operation, OperationName, OperationPhase};
use crate::{Error, ReadWrite};

impl Store<ReadWrite> {
    /// Appends all events of a stream in chunks, unconditionally and in the order of the stream.
    ///
    /// Each chunk is a transaction: all of it is stored or none, and other appends may be committed
    /// between two chunks. The conditions of other appends are checked against the imported events
    /// as against any others. A chunk takes the log's lock after all of it has arrived at the
    /// server: other appends wait while it is stored, but not while it is sent.
    ///
    /// The next chunk is read while one is stored, so a stream of any length needs the memory of
    /// two chunks. A chunk is stored when it is full or the stream has ended.
    ///
    /// The stream yields events, or results with an event. The first error ends the import, after
    /// all events before it are stored.
    ///
    /// # Nothing twice
    ///
    /// An event is skipped if the log already holds it, or if it came earlier in the stream. An
    /// event that has the id of another event and other contents ends the import. So an import that
    /// was interrupted, for any reason, can be run again with the same events (with the same ids),
    /// or with those from [`Imported::read`] on. The events that it stores are in the order of the
    /// stream. The events that it skips keep their positions.
    ///
    /// Each chunk is retried as the store's [`RetryPolicy`](crate::RetryPolicy) says: its attempts
    /// and its deadline are those of one chunk. An attempt may take all of the time up to that
    /// deadline or, without a deadline, the timeout of an attempt. The import as a whole has no
    /// time limit.
    ///
    /// ```no_run
    /// # use eddyline::{Error, Event, ReadWrite, Store};
    /// use futures_util::stream;
    ///
    /// # async fn take_over(writer: Store<ReadWrite>, events: Vec<Event>) -> Result<(), Error> {
    /// let imported = writer.import(stream::iter(events)).await?;
    /// println!("{} stored, {} skipped", imported.stored(), imported.skipped());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// - [`ImportError::Source`]: the stream yielded an error.
    /// - [`ImportError::Store`]: a chunk cannot be stored. The source is [`Error::InvalidConfig`]
    ///   if the size of chunks is not allowed, or one of the errors of an unconditional
    ///   [`append`](Self::append), such as [`Error::DuplicateEvent`] if an event has the id of
    ///   another one with other contents, in the log or earlier in the stream.
    ///   [`Error::PositionLost`] if a failover lost events of former chunks: then run the same
    ///   import again from its beginning.
    ///
    /// Both contain the progress of the import. After [`Error::OutcomeUnknown`] and
    /// [`Error::PositionLost`] the chunk may be stored. The same import, run again, finds out.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, whole chunks are stored, in order; the last one perhaps a moment
    /// later. The same import, run again, stores the rest.
    pub fn import<S>(&self, events: S) -> Import<'_, S>
    where
        S: Stream<Item: Importable>,
    {
        Import { store: self, events, chunk_size: DEFAULT_CHUNK_SIZE, progress: |_| () }
    }
}

/// An import that starts when it is awaited. Made by [`Store::import`].
#[must_use = "an import does nothing unless it is awaited"]
pub struct Import<'a, S, P = fn(&Imported)> {
    store: &'a Store<ReadWrite>,
    events: S,
    chunk_size: usize,
    progress: P,
}

impl<'a, S, P> Import<'a, S, P> {
    /// Sets the number of events of a chunk: 1 to [`MAX_APPEND_EVENTS`]. Defaults to 1,000. A chunk
    /// with 8 MiB of JSON is full as well.
    ///
    /// Other appends wait while a chunk is stored, longer if it is larger. Larger chunks were
    /// measured to store hardly more events per second.
    ///
    /// ```no_run
    /// # use eddyline::{Error, Event, ReadWrite, Store};
    /// use futures_util::stream;
    ///
    /// # async fn take_over(writer: Store<ReadWrite>, events: Vec<Event>) -> Result<(), Error> {
    /// writer.import(stream::iter(events)).chunk(250).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn chunk(self, events: usize) -> Self {
        Self { chunk_size: events, ..self }
    }

    /// Sets a function that is called after each chunk with the progress of the import. Defaults to
    /// none.
    ///
    /// ```no_run
    /// # use eddyline::{Error, Event, ReadWrite, Store};
    /// use futures_util::stream;
    ///
    /// # async fn take_over(writer: Store<ReadWrite>, events: Vec<Event>) -> Result<(), Error> {
    /// writer
    ///     .import(stream::iter(events))
    ///     .on_progress(|imported| println!("{} events so far", imported.read()))
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_progress<X>(self, progress: X) -> Import<'a, S, X>
    where
        X: FnMut(&Imported),
    {
        let Self { store, events, chunk_size, progress: _ } = self;
        Import { store, events, chunk_size, progress }
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
        let mut operation = self.store.operation(OperationName::Import, SCOPE);
        let mut so_far = Imported::default();
        match self.store_all(&mut operation, &mut so_far).await {
            Ok(SourceEnd::Complete) => {
                operation.succeed();
                Ok(so_far)
            }
            // The operation itself did not fail, so it counts as canceled by the caller.
            Ok(SourceEnd::Failed(source)) => Err(ImportError::Source { so_far, source }),
            Err((range, source)) => {
                operation.fail(&source);
                Err(ImportError::Store { so_far, chunk: range, source })
            }
        }
    }

    /// Stores chunk after chunk. Returns how the source ended, or which chunk could not be stored.
    async fn store_all(
        self,
        operation: &mut Operation,
        so_far: &mut Imported,
    ) -> Result<SourceEnd<<S::Item as Importable>::Error>, (Range<u64>, Error)> {
        let Self { store, events, chunk_size: size, mut progress } = self;
        if !(1..=MAX_APPEND_EVENTS).contains(&size) {
            let reason = format!("is {size}, allowed are 1 to {MAX_APPEND_EVENTS} events");
            return Err((0..0, Error::invalid_config("chunk", reason)));
        }
        let mut source = pin!(events);
        let mut expects_held = false;
        let mut chunk = Chunk::read(source.as_mut(), size, None).await;
        loop {
            let Chunk { events, read, end, next, .. } = chunk;
            let storing = async {
                if read == 0 {
                    return Ok(());
                }
                let former = so_far.bookmark();
                let handle = operation.handle().clone();
                handle.enter(OperationPhase::Execute);
                let call = ChunkCall::new(store, &handle, &events, former, expects_held);
                let stored = call.run().await;
                handle.enter(OperationPhase::Queue);
                let first = so_far.read();
                let stored = stored.map_err(|error| (first..first + read, error))?;
                expects_held = stored.stored < events.len() as u64;
                operation.count_appended(stored.stored);
                so_far.add(read, &stored);
                progress(so_far);
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
            .field("chunk", &self.chunk_size)
            .finish_non_exhaustive()
    }
}

/// The scope under which imports are counted.
const SCOPE: &str = "import";
/// The number of events of a chunk.
const DEFAULT_CHUNK_SIZE: usize = 1_000;

//! The parts of an import: the items of its source, its progress, and its error.

use std::convert::Infallible;
use std::ops::Range;

use crate::{Bookmark, Error, Event, SequenceNumber};

/// The progress of an import: everything that it has read up to here is in the log.
///
/// [`Store::import`](crate::Store::import) returns it at its end, passes it to
/// [`on_progress`](crate::import::Import::on_progress), and puts it into its errors.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Imported {
    read: u64,
    stored: u64,
    first: Option<SequenceNumber>,
    last: Option<SequenceNumber>,
    position: Bookmark,
}

impl Imported {
    /// Adds a chunk for which this many events of the source were read.
    pub(crate) fn add(&mut self, read: u64, chunk: &ChunkStored) {
        self.read += read;
        self.stored += chunk.stored;
        self.first = self.first.or(chunk.first);
        self.last = chunk.last.or(self.last);
        if chunk.position.position() >= self.position.position() {
            self.position = chunk.position;
        }
    }

    /// Returns how many events of the source are in the log. The rest of the source can be imported
    /// from there on.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// Returns how many of them this import stored.
    pub fn stored(&self) -> u64 {
        self.stored
    }

    /// Returns how many of them were skipped, since they were in the log already or earlier in the
    /// source.
    pub fn skipped(&self) -> u64 {
        self.read - self.stored
    }

    /// Returns the position of the first event that this import stored.
    pub fn first(&self) -> Option<SequenceNumber> {
        self.first
    }

    /// Returns the position of the last event that this import stored. Other appends may lie
    /// between it and the first.
    pub fn last(&self) -> Option<SequenceNumber> {
        self.last
    }

    /// Returns the highest position of all events that were read, including skipped ones. A read at
    /// this position or later sees them all.
    pub fn position(&self) -> SequenceNumber {
        self.position.position()
    }

    /// Returns the [position](Self::position) as a bookmark.
    pub fn bookmark(&self) -> Bookmark {
        self.position
    }
}

/// The result of storing a chunk.
#[derive(Debug)]
pub(crate) struct ChunkStored {
    pub(crate) stored: u64,
    pub(crate) first: Option<SequenceNumber>,
    pub(crate) last: Option<SequenceNumber>,
    /// The highest position of its events, including skipped ones, or of the former chunks.
    pub(crate) position: Bookmark,
}

/// The error of an import, with its progress.
///
/// The events counted in `so_far` are in the log, and durable. The same import, run again with the
/// same ids, stores the rest.
///
/// ```no_run
/// # use eddyline::import::ImportError;
/// # use eddyline::{Error, Event, ReadWrite, Store};
/// # use futures_util::stream;
/// # async fn load(writer: Store<ReadWrite>, events: Vec<Event>) {
/// match writer.import(stream::iter(events)).await {
///     Ok(imported) => println!("{} stored", imported.stored()),
///     Err(ImportError::Store { so_far, chunk, source }) => {
///         println!("{} stored, then {chunk:?} failed: {source}", so_far.stored());
///     }
///     Err(error) => println!("{error}"),
/// }
/// # }
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError<E> {
    /// The source yielded an error. All events before it are stored.
    #[error("the source of the import failed after {} events", so_far.read())]
    Source {
        /// The progress up to the error.
        so_far: Imported,
        /// The error of the source.
        source: E,
    },

    /// A chunk could not be stored. None of its events was stored, unless the outcome is
    /// [unknown](Error::is_outcome_unknown). All events before the chunk are stored.
    #[error("{} events of the import are stored, the next {} cannot be", so_far.read(), chunk.end - chunk.start)]
    Store {
        /// The progress up to the error.
        so_far: Imported,
        /// The events of the chunk, counted in the source from 0. If the server refused one of
        /// them, an import with chunks of one event finds it.
        chunk: Range<u64>,
        /// Why the chunk could not be stored.
        source: Error,
    },
}

impl<E> ImportError<E> {
    /// Returns the progress up to the error.
    pub fn so_far(&self) -> &Imported {
        match self {
            Self::Source { so_far, .. } | Self::Store { so_far, .. } => so_far,
        }
    }
}

/// Drops the progress.
impl<E: Into<Error>> From<ImportError<E>> for Error {
    fn from(failed: ImportError<E>) -> Self {
        match failed {
            ImportError::Source { source, .. } => source.into(),
            ImportError::Store { source, .. } => source,
        }
    }
}

/// Converts the error of a source that cannot fail.
impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// An item of an import's source: an [`Event`], or a [`Result`] with one.
///
/// The trait is sealed.
pub trait Importable: sealed::Sealed {
    /// The error that the source may yield.
    type Error;

    #[doc(hidden)]
    fn into_event(self) -> Result<Event, Self::Error>;
}

impl Importable for Event {
    type Error = Infallible;

    fn into_event(self) -> Result<Event, Infallible> {
        Ok(self)
    }
}

impl<E> Importable for Result<Event, E> {
    type Error = E;

    fn into_event(self) -> Self {
        self
    }
}

mod sealed {
    use crate::Event;

    pub trait Sealed {}

    impl Sealed for Event {}
    impl<E> Sealed for Result<Event, E> {}
}

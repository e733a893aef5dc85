//! The parts of an import: what a source may yield, how far it has come, and why it ended early.

use std::convert::Infallible;
use std::ops::Range;

use crate::{Error, Event, SequenceNumber};

/// Says how far an import has come: up to here, everything that it read is in the log.
///
/// It is what [`Store::import`](crate::Store::import) returns at its end, tells on its way, and
/// keeps where it fails.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Imported {
    read: u64,
    stored: u64,
    first: Option<SequenceNumber>,
    last: Option<SequenceNumber>,
    position: SequenceNumber,
}

impl Imported {
    /// Adds a chunk of so many events of the source.
    pub(crate) fn add(&mut self, read: u64, chunk: &ChunkStored) {
        self.read += read;
        self.stored += chunk.stored;
        self.first = self.first.or(chunk.first);
        self.last = chunk.last.or(self.last);
        self.position = self.position.max(chunk.position);
    }

    /// Returns how many events of the source are in the log: the place in the source from which
    /// the rest can be imported.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// Returns how many of them this import stored.
    pub fn stored(&self) -> u64 {
        self.stored
    }

    /// Returns how many of them were there already: in the log, or earlier in the source.
    pub fn skipped(&self) -> u64 {
        self.read - self.stored
    }

    /// Returns the place of the first event that this import stored.
    pub fn first(&self) -> Option<SequenceNumber> {
        self.first
    }

    /// Returns the place of the last event that this import stored; between it and the first there
    /// may be events of others.
    pub fn last(&self) -> Option<SequenceNumber> {
        self.last
    }

    /// Returns the highest place of all the events that were read, whoever stored them. A read at
    /// this position or later sees them all.
    pub fn position(&self) -> SequenceNumber {
        self.position
    }
}

/// What has become of a chunk.
#[derive(Debug)]
pub(crate) struct ChunkStored {
    pub(crate) stored: u64,
    pub(crate) first: Option<SequenceNumber>,
    pub(crate) last: Option<SequenceNumber>,
    /// The highest place of its events, whoever stored them.
    pub(crate) position: SequenceNumber,
}

/// Says why an import ended early, and how far it had come.
///
/// What is `so_far` is in the log, and durable. The same import again, with the same ids, stores
/// the rest.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError<E> {
    /// The source yielded an error. All events before it are stored.
    #[error("the source of the import failed after {} events", so_far.read())]
    Source {
        /// How far the import had come.
        so_far: Imported,
        /// What the source yielded.
        source: E,
    },

    /// A chunk could not be stored, and nothing of it was, unless the error is one of an
    /// [unknown outcome](Error::is_outcome_unknown). All events before it are stored.
    #[error("{} events of the import are stored, the next {} cannot be", so_far.read(), chunk.end - chunk.start)]
    Store {
        /// How far the import had come.
        so_far: Imported,
        /// Which events of the source the chunk has, the first event of all being 0. Where the
        /// server refused one of them, an import in chunks of one finds it.
        chunk: Range<u64>,
        /// Why not.
        source: Error,
    },
}

impl<E> ImportError<E> {
    /// Returns how far the import had come.
    pub fn so_far(&self) -> &Imported {
        match self {
            Self::Source { so_far, .. } | Self::Store { so_far, .. } => so_far,
        }
    }
}

/// For those who need not know how far it had come.
impl<E: Into<Error>> From<ImportError<E>> for Error {
    fn from(failed: ImportError<E>) -> Self {
        match failed {
            ImportError::Source { source, .. } => source.into(),
            ImportError::Store { source, .. } => source,
        }
    }
}

/// A source that cannot fail does not.
impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// Is what the source of an import may yield: an [`Event`], or a [`Result`] with one.
///
/// The trait is sealed.
pub trait Importable: sealed::Sealed {
    /// What may be yielded instead of an event.
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

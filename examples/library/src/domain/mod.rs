//! The contents of the log: events with their ids, times and metadata.

mod events;
mod ids;
mod metadata;
mod occurred_at;

pub use self::events::{
    BookCopyAddedToCirculation, BookCopyLentToReader, BookCopyRemovedFromCirculation,
    BookCopyReturnedByReader, BookData, CancelingReaderContractFailed, DecodeError, DomainEvent,
    LendingBookToReaderFailed, ReaderContractCanceled, ReaderRegistered,
    RemovingBookFromCirculationFailed, ReturningBookFromReaderFailed,
};
pub use self::ids::{BookId, ReaderId};
pub use self::metadata::Metadata;
pub use self::occurred_at::OccurredAt;

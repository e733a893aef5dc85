use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use eddyline::SequenceNumber;
use library::commands::Reason;
use library::domain::{BookId, ReaderId};
use uuid::Uuid;

/// A command, with the book and the reader that it is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Subject {
    /// The name of the command.
    pub command: &'static str,
    /// The book, if it is about one.
    pub book: Option<BookId>,
    /// The reader, if it is about one.
    pub reader: Option<ReaderId>,
}

/// The name of a command.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum CommandName {
    /// `AddBookCopy`
    AddBookCopy,
    /// `CancelReaderContract`
    CancelReaderContract,
    /// `LendBookCopyToReader`
    LendBookCopyToReader,
    /// `RegisterReader`
    RegisterReader,
    /// `RemoveBookCopy`
    RemoveBookCopy,
    /// `ReturnBookCopyFromReader`
    ReturnBookCopyFromReader,
}

/// The reply to a command that stored an event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reply {
    /// The rules forbade the change, and the event says so.
    Rejected(Reason),
    /// The event is the change.
    Success,
}

/// An event that a command stored. It is small, since a load has millions of them.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledged {
    /// The position that the client was told.
    pub position: SequenceNumber,
    /// The id of the event.
    pub event: Uuid,
    /// The hash of the book and the reader, as [`subject_hash`] computes it.
    pub subject: u64,
    /// The command.
    pub command: CommandName,
    /// The reply.
    pub reply: Reply,
}

/// A command that had nothing to change.
#[derive(Clone, Copy, Debug)]
pub struct Idempotent {
    /// The position at which there was nothing to change.
    pub position: SequenceNumber,
    /// The book. Nil if the command is not about a book.
    pub book: Uuid,
    /// The reader. Nil if the command is not about a reader.
    pub reader: Uuid,
    /// The command.
    pub command: CommandName,
}

impl Subject {
    /// Returns the reply to the command if there was nothing to change at a position.
    pub fn idempotent(self, command: CommandName, position: SequenceNumber) -> Idempotent {
        let (book, reader) = self.ids();
        Idempotent { position, book, reader, command }
    }

    /// Returns the hash of the book and the reader.
    pub fn hash(self) -> u64 {
        let (book, reader) = self.ids();
        subject_hash(book, reader)
    }

    fn ids(self) -> (Uuid, Uuid) {
        let book = self.book.map_or(Uuid::nil(), Uuid::from);
        (book, self.reader.map_or(Uuid::nil(), Uuid::from))
    }
}

/// Returns the hash of a book and a reader. An id is nil if there is none.
pub fn subject_hash(book: Uuid, reader: Uuid) -> u64 {
    let mut hasher = DefaultHasher::new();
    (book, reader).hash(&mut hasher);
    hasher.finish()
}

impl CommandName {
    /// All commands.
    pub const ALL: [Self; 6] = [
        Self::AddBookCopy,
        Self::CancelReaderContract,
        Self::LendBookCopyToReader,
        Self::RegisterReader,
        Self::RemoveBookCopy,
        Self::ReturnBookCopyFromReader,
    ];

    /// Returns the command with a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|command| command.as_str() == name)
    }

    /// Returns the name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AddBookCopy => "AddBookCopy",
            Self::CancelReaderContract => "CancelReaderContract",
            Self::LendBookCopyToReader => "LendBookCopyToReader",
            Self::RegisterReader => "RegisterReader",
            Self::RemoveBookCopy => "RemoveBookCopy",
            Self::ReturnBookCopyFromReader => "ReturnBookCopyFromReader",
        }
    }

    /// Returns the type of the event that it stores if the rules allow it.
    pub fn success_type(self) -> &'static str {
        match self {
            Self::AddBookCopy => "BookCopyAddedToCirculation",
            Self::CancelReaderContract => "ReaderContractCanceled",
            Self::LendBookCopyToReader => "BookCopyLentToReader",
            Self::RegisterReader => "ReaderRegistered",
            Self::RemoveBookCopy => "BookCopyRemovedFromCirculation",
            Self::ReturnBookCopyFromReader => "BookCopyReturnedByReader",
        }
    }

    /// Returns the type of the event that it stores if the rules forbid it. `None` if they never
    /// do.
    pub fn failure_type(self) -> Option<&'static str> {
        match self {
            Self::AddBookCopy | Self::RegisterReader => None,
            Self::CancelReaderContract => Some("CancelingReaderContractFailed"),
            Self::LendBookCopyToReader => Some("LendingBookToReaderFailed"),
            Self::RemoveBookCopy => Some("RemovingBookFromCirculationFailed"),
            Self::ReturnBookCopyFromReader => Some("ReturningBookFromReaderFailed"),
        }
    }
}

impl fmt::Display for CommandName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

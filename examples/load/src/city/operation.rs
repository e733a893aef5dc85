use eddyline::SequenceNumber;
use library::commands::{
    AddBookCopy, CancelReaderContract, LendBookCopyToReader, RegisterReader, RemoveBookCopy,
    ReturnBookCopyFromReader,
};
use library::domain::{BookId, ReaderId};
use library::queries::BooksLentByReader;

use crate::plan::{Aim, List};

/// A command or query about chosen readers and copies. No other one about them begins until it has
/// ended.
#[derive(Debug)]
pub struct Operation {
    /// The command or query.
    pub request: Request,
    /// How a command should end.
    pub aim: Aim,
    /// Whether another reader wants the same copy at the same time. A success or a rejection is
    /// expected then.
    pub is_contended: bool,
    pub(super) copy: Option<u32>,
    pub(super) reader: Option<u32>,
    /// Whether the reader is free again when it ends, rather than at the end of a visit.
    pub(super) is_brief: bool,
    /// A copy that is not in circulation, which goes back to the others after it.
    pub(super) removed: Option<BookId>,
    /// A former reader, who goes back to the others after it.
    pub(super) former: Option<(ReaderId, String)>,
}

/// A command or query.
#[derive(Clone, Debug)]
pub enum Request {
    /// Add a copy to circulation.
    Add(AddBookCopy),
    /// Ask for the loans of a reader.
    Browse(Browse),
    /// End a reader's contract.
    Cancel(CancelReaderContract),
    /// Lend a copy.
    Lend(LendBookCopyToReader),
    /// Ask for a list that concerns all books or all readers.
    List(List),
    /// Register a reader.
    Register(RegisterReader),
    /// Remove a copy from circulation.
    Remove(RemoveBookCopy),
    /// Return a copy.
    Return(ReturnBookCopyFromReader),
}

/// A query for the loans of a reader, with what its answer must be.
#[derive(Clone, Debug)]
pub struct Browse {
    /// The query.
    pub query: BooksLentByReader,
    /// The position at which it must be answered, or later.
    pub position: SequenceNumber,
    /// The copies that the reader has.
    pub loans: Vec<BookId>,
}

/// How a command or query ended, as far as the city is concerned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// The query was answered.
    Answered,
    /// It failed, and stored nothing.
    Failed,
    /// It had nothing to change.
    Idempotent,
    /// The rules forbade it.
    Rejected {
        /// The position of the failure event.
        position: SequenceNumber,
    },
    /// It stored its event.
    Success {
        /// The position of the event.
        position: SequenceNumber,
    },
    /// It failed, and may have stored its event.
    Unknown,
}

impl Operation {
    pub(super) fn new(request: Request, aim: Aim) -> Self {
        Self {
            request,
            aim,
            is_contended: false,
            copy: None,
            reader: None,
            is_brief: false,
            removed: None,
            former: None,
        }
    }

    /// Returns whether an end is one that the city expects.
    pub(super) fn expects(&self, end: End) -> bool {
        match end {
            End::Answered | End::Failed => true,
            End::Idempotent => self.aim == Aim::Idempotent,
            End::Rejected { .. } => self.aim == Aim::Rejected || self.is_contended,
            End::Success { .. } => self.aim == Aim::Success,
            // Without success, its event is a failure event or none: the state does not change.
            End::Unknown => self.aim != Aim::Success,
        }
    }
}

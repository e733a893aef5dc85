use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Something that a person intends to do. The reader and the copy are chosen when it is due, from
/// the state of the city.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Intention {
    /// The visit that it is a step of. The steps of a visit run one after the other.
    pub visit: u32,
    /// What the person wants to do.
    pub act: Act,
    /// How it should end. Always [`Aim::Success`] for a query.
    pub aim: Aim,
    /// Whether several people do it at the same time.
    pub crowd: Crowd,
    /// Whether it is the last step of the visit.
    pub ends_visit: bool,
    /// The seed of the choices that are made when it is due.
    pub draw: u64,
}

/// An intention with the time at which it is due, since the start of the load.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Planned {
    /// The time, in whole microseconds.
    pub at: Duration,
    /// The intention.
    pub intention: Intention,
}

/// What a person wants to do.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Act {
    /// Add a copy to circulation.
    Add,
    /// Borrow a copy.
    Borrow,
    /// Ask for the loans of a reader.
    Browse,
    /// End a reader's contract.
    Cancel,
    /// Ask for a list that concerns all books or all readers.
    List(List),
    /// Become a reader.
    Register,
    /// Remove a copy from circulation.
    Remove,
    /// Return a copy.
    Return,
}

/// A list that concerns all books or all readers.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum List {
    /// `BooksInCirculation`
    BooksInCirculation,
    /// `BooksLentOut`
    BooksLentOut,
    /// `CanceledReaders`
    CanceledReaders,
    /// `FinishedLendings`
    FinishedLendings,
    /// `RegisteredReaders`
    RegisteredReaders,
    /// `RemovedBooks`
    RemovedBooks,
}

/// How a command should end.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Aim {
    /// It changes nothing, because it is sent again.
    Idempotent,
    /// The rules forbid it: an honest mistake.
    Rejected,
    /// It stores its event.
    Success,
}

/// How many people do something at the same time.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Crowd {
    /// One person.
    Alone,
    /// Two persons with the card of one reader. Both succeed; one of them loses a round.
    OneCard,
    /// Two persons who want the same copy. One succeeds, the other one loses a round and is
    /// rejected.
    OneCopy,
}

/// A group of acts, for the mix of a load.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// Adding and removing copies.
    Circulation,
    /// Borrowing and returning.
    Lending,
    /// Queries.
    Queries,
    /// Registering readers and ending contracts.
    Readers,
}

impl Act {
    /// Returns the group of the act.
    pub fn group(self) -> Group {
        match self {
            Self::Add | Self::Remove => Group::Circulation,
            Self::Borrow | Self::Return => Group::Lending,
            Self::Browse | Self::List(_) => Group::Queries,
            Self::Cancel | Self::Register => Group::Readers,
        }
    }
}

impl Crowd {
    /// Returns the number of operations of an intention.
    pub fn operations(self) -> u64 {
        match self {
            Self::Alone => 1,
            Self::OneCard | Self::OneCopy => 2,
        }
    }
}

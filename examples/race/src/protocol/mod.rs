//! The protocols for reading a boundary and appending to the log: the store's, and its
//! predecessor's.

mod predecessor;
mod store;

use clap::ValueEnum;
use eddyline::AppendCondition;
use rand::RngExt;
use rand::rngs::SmallRng;
use serde::{Deserialize, Serialize};

use self::predecessor::Predecessor;
pub use self::store::{DecideError, DecidePolicy, EventStore, config, to_event};
use crate::event::NewEvent;
use crate::failure::Failure;
use crate::filter::FilterSpec;
use crate::message::{Server, TailMethod};
use crate::servers::Addresses;
use crate::sql::Table;

/// The names of the protocols.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ValueEnum)]
pub enum ProtocolName {
    /// The store of this crate.
    Eddyline,
    /// One statement at READ COMMITTED that checks and inserts, without a lock.
    Predecessor,
}

impl ProtocolName {
    /// Returns the table of the protocol, which has a schema of its own.
    pub fn table(self) -> Table {
        match self {
            Self::Eddyline => Table { schema: "eddyline_race", name: "events" },
            Self::Predecessor => Table { schema: "eddyline_race_predecessor", name: "events" },
        }
    }

    /// Creates the table and its schema.
    pub async fn create(self, addresses: &Addresses) -> Result<(), Failure> {
        match self {
            Self::Eddyline => store::create(addresses, self.table()).await,
            Self::Predecessor => predecessor::create(addresses, self.table()).await,
        }
    }
}

/// A connected protocol. All actors of a process share it.
#[derive(Debug)]
pub enum Protocol {
    Predecessor(Box<Predecessor>),
    Store(Box<EventStore>),
}

/// The result of reading a boundary.
pub struct Reading {
    /// The number of events that the filter matched.
    pub count: u64,
    /// The position at which that number is exact.
    pub position: u64,
    pub condition: Condition,
}

/// The condition of an append.
pub enum Condition {
    /// No condition.
    Unconditional,
    /// A condition of the store.
    Store(AppendCondition),
    /// A condition of the predecessor: the highest position that the filter matched.
    Highest(FilterSpec, u64),
}

/// The outcome of an append.
pub enum Outcome {
    Accepted {
        first: u64,
        last: u64,
    },
    Conflict(ReportedConflict),
    /// Nothing was stored, for another reason than a conflict.
    Refused(String),
    /// The outcome is unknown.
    Unknown(String),
}

/// The details of a broken condition, as the protocol reports them.
pub struct ReportedConflict {
    pub after: u64,
    pub event: Option<(u64, String)>,
    pub head: Option<u64>,
}

/// The result of a tailing read.
pub struct Page {
    pub positions: Vec<u64>,
    /// The position to continue from.
    pub position: u64,
}

impl Protocol {
    /// Connects, with at most the given number of connections to each server.
    pub async fn connect(
        name: ProtocolName,
        addresses: &Addresses,
        connections: usize,
    ) -> Result<Self, Failure> {
        let table = name.table();
        Ok(match name {
            ProtocolName::Eddyline => {
                let store = EventStore::connect(addresses, table, connections).await?;
                Self::Store(Box::new(store))
            }
            ProtocolName::Predecessor => {
                let predecessor = Predecessor::connect(addresses, table, connections).await?;
                Self::Predecessor(Box::new(predecessor))
            }
        })
    }

    /// Reads the boundary of a decision. Errors are texts, because callers only report them.
    pub async fn read(
        &self,
        filter: &FilterSpec,
        random: &mut SmallRng,
    ) -> Result<Reading, String> {
        match self {
            Self::Predecessor(predecessor) => predecessor.read(filter).await,
            Self::Store(store) => store.read(filter, random.random_ratio(1, 4)).await,
        }
    }

    /// Reads the head, for an append on the condition that no event at all is committed in between.
    /// Returns `None` if the protocol has no such condition.
    pub async fn read_head(&self) -> Option<Result<Reading, String>> {
        match self {
            Self::Predecessor(_) => None,
            Self::Store(store) => Some(store.read_head().await),
        }
    }

    /// Appends the events under the condition.
    pub async fn append(&self, events: &[NewEvent], condition: Condition) -> Outcome {
        match self {
            Self::Predecessor(predecessor) => predecessor.append(events, condition).await,
            Self::Store(store) => store.append(events, condition).await,
        }
    }

    /// Reads the events after a position, by a query or a stream.
    pub async fn tail(
        &self,
        method: TailMethod,
        server: Server,
        last: u64,
        limit: Option<u32>,
    ) -> Result<Page, String> {
        match self {
            Self::Predecessor(predecessor) => predecessor.tail(server, last).await,
            Self::Store(store) => store.tail(method, server, last, limit).await,
        }
    }
}

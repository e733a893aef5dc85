//! How to read a boundary and append to the log: by the store, or as its predecessor did.

mod predecessor;
mod store;

use clap::ValueEnum;
use eddyline::AppendCondition;
use rand::RngExt;
use rand::rngs::SmallRng;
use serde::{Deserialize, Serialize};

use self::predecessor::Predecessor;
pub use self::store::{EventStore, Stop, Tenacity, config, to_event};
use crate::event::NewEvent;
use crate::fact::{Server, Way};
use crate::failure::Failure;
use crate::filter::FilterSpec;
use crate::servers::Addresses;
use crate::sql::Table;

/// The protocols by name.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ValueEnum)]
pub enum ProtocolName {
    /// The store of this crate.
    Eddyline,
    /// One statement at READ COMMITTED that checks and inserts, without a lock.
    Predecessor,
}

impl ProtocolName {
    /// Returns the table that it works on, in a schema of its own.
    pub fn table(self) -> Table {
        match self {
            Self::Eddyline => Table { schema: "eddyline_race", name: "events" },
            Self::Predecessor => Table { schema: "eddyline_race_predecessor", name: "events" },
        }
    }

    /// Makes the table, in a schema that exists.
    pub async fn create(self, addresses: &Addresses) -> Result<(), Failure> {
        match self {
            Self::Eddyline => store::create(addresses, self.table()).await,
            Self::Predecessor => predecessor::create(addresses, self.table()).await,
        }
    }
}

/// A connected protocol; it is shared by all actors of a process.
#[derive(Debug)]
pub enum Protocol {
    Predecessor(Box<Predecessor>),
    Store(Box<EventStore>),
}

/// What a reader learned of its boundary.
pub struct Reading {
    /// How many events the filter matched.
    pub count: u64,
    /// What that is true at.
    pub position: u64,
    pub basis: Basis,
}

/// What an append stands on.
pub enum Basis {
    /// Nothing.
    Anything,
    /// The store's condition.
    Condition(AppendCondition),
    /// The predecessor's condition: the highest number that the filter matched.
    Highest(FilterSpec, u64),
}

/// How an append ended.
pub enum Outcome {
    Accepted {
        first: u64,
        last: u64,
    },
    Conflict(Broken),
    /// Nothing was stored, for another reason than a conflict.
    Refused(String),
    /// It may have been stored.
    Unknown(String),
}

/// What is said of a broken condition.
pub struct Broken {
    pub after: u64,
    pub event: Option<(u64, String)>,
    pub head: Option<u64>,
}

/// What a tailing reader got.
pub struct Page {
    pub numbers: Vec<u64>,
    /// Where to go on from.
    pub position: u64,
}

impl Protocol {
    /// Connects a worker, with up to this many connections to each server.
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

    /// Reads what a decision is taken from; an error is told in words, since it ends nothing.
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

    /// Reads where the log ends, to append on the condition that nothing comes in between; not every
    /// protocol can.
    pub async fn read_end(&self) -> Option<Result<Reading, String>> {
        match self {
            Self::Predecessor(_) => None,
            Self::Store(store) => Some(store.read_end().await),
        }
    }

    /// Appends.
    pub async fn append(&self, events: &[NewEvent], basis: Basis) -> Outcome {
        match self {
            Self::Predecessor(predecessor) => predecessor.append(events, basis).await,
            Self::Store(store) => store.append(events, basis).await,
        }
    }

    /// Reads on from a position, by a query or a stream; at most this many events, if any.
    pub async fn tail(
        &self,
        way: Way,
        server: Server,
        last: u64,
        limit: Option<u32>,
    ) -> Result<Page, String> {
        match self {
            Self::Predecessor(predecessor) => predecessor.tail(server, last).await,
            Self::Store(store) => store.tail(way, server, last, limit).await,
        }
    }
}

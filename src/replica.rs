use std::fmt;
use std::time::Duration;

use crate::{Role, SequenceNumber};

/// The state of a server of a read-only store, as the store knows it.
///
/// [`Store::replicas`](crate::Store::replicas) returns it, and
/// [`Error::ReplicaBehind`](crate::Error::ReplicaBehind) contains it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ReplicaStatus {
    /// The name within the store: `replica-0`, `replica-1`, …
    pub name: String,
    /// The address, as `host:port`.
    pub address: String,
    /// Whether it is a primary or a replica. `None` until it has answered.
    pub role: Option<Role>,
    /// Whether the store reads from it.
    pub state: ReplicaState,
    /// The head of its log, as of its last answer. `None` until it has answered.
    pub position: Option<SequenceNumber>,
    /// How many positions it lies behind the highest one that the store has seen. Positions have
    /// gaps, so there may be fewer events. `None` until it has answered.
    pub behind: Option<u64>,
    /// The time since its last answer. `None` until it has answered.
    pub answered: Option<Duration>,
    /// The reads that it is answering, including open streams.
    pub in_flight: usize,
    /// Its weight, see [`Replica::weight`](crate::Replica::weight).
    pub weight: f64,
}

impl fmt::Display for ReplicaStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.name, self.address, self.state)?;
        match (self.position, self.behind, self.answered) {
            (Some(position), Some(behind), Some(answered)) => {
                write!(f, " at {position} ({behind} behind, answered {answered:.1?} ago)")
            }
            _ => write!(f, " and has not answered"),
        }
    }
}

/// Whether a read-only store reads from a server.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ReplicaState {
    /// It is left out after a failure. It is read from only if nothing else is left.
    Out,
    /// It answers again, and gets one read to try it.
    Probing,
    /// It is read from.
    Up,
}

impl fmt::Display for ReplicaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Out => "is left out",
            Self::Probing => "is being tried",
            Self::Up => "is up",
        })
    }
}

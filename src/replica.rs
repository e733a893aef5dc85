use std::fmt;
use std::sync::Arc;
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

/// Lists replicas in one line.
pub(crate) fn listed(replicas: &[ReplicaStatus]) -> String {
    let replicas: Vec<_> = replicas.iter().map(ToString::to_string).collect();
    replicas.join(", ")
}

/// Whether a read-only store reads from a server.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ReplicaState {
    /// It has events that the newest known history of the log does not have: it was left behind by
    /// a failover that lost them. It is not read from.
    Diverged,
    /// It is the same server as one that was named before. It is not read from.
    Duplicate,
    /// It has another log of the same name. It is not read from.
    OtherLog,
    /// It is left out after a failure. Reads that need no position use it if nothing else is left.
    Out,
    /// It answers again, and gets one read to try it.
    Probing,
    /// It was a replica, and is a primary now. It is not read from. To read from it, remove it and
    /// add it again, or connect a new store if it is the only replica.
    Promoted,
    /// It is read from.
    Up,
}

impl ReplicaState {
    /// Returns the name of the state in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Diverged => "diverged",
            Self::Duplicate => "duplicate",
            Self::OtherLog => "other_log",
            Self::Out => "out",
            Self::Probing => "probing",
            Self::Promoted => "promoted",
            Self::Up => "up",
        }
    }
}

impl fmt::Display for ReplicaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Diverged => "has diverged",
            Self::Duplicate => "is named twice",
            Self::OtherLog => "has another log",
            Self::Out => "is left out",
            Self::Probing => "is being tried",
            Self::Promoted => "was promoted",
            Self::Up => "is up",
        })
    }
}

/// The server that answered a read.
///
/// It is displayed as its name, and can be compared with a name.
///
/// ```no_run
/// # use eddyline::{Error, Filter, ReadOnly, Role, Store};
/// # async fn read(reader: Store<ReadOnly>) -> Result<(), Error> {
/// let history = reader.query(Filter::everything()).await?;
/// let server = history.served_by();
/// if server.role() == Role::Primary {
///     println!("{server} is a primary");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ServedBy {
    name: Arc<str>,
    role: Role,
}

impl ServedBy {
    pub(crate) fn new(name: Arc<str>, role: Role) -> Self {
        Self { name, role }
    }

    /// Returns the name of the server within the store: `primary`, `replica-0`, …
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what the server was in the snapshot of the read. A replica may have been promoted.
    pub fn role(&self) -> Role {
        self.role
    }
}

impl fmt::Display for ServedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}

impl PartialEq<str> for ServedBy {
    fn eq(&self, name: &str) -> bool {
        &*self.name == name
    }
}

use std::fmt;

use crate::Error;
use crate::address::Address;

/// A server of a read-only store, with its share of the reads.
///
/// ```
/// use eddyline::{Config, Replica};
///
/// let config = Config::new("postgres://replica-a/library")?
///     .replica(Replica::new("postgres://replica-b/library")?.weight(0.5))?
///     .replica(Replica::new("postgres://elsewhere/library")?.weight(0.0))?;
/// # Ok::<(), eddyline::Error>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct Replica {
    pub(crate) address: Address,
    pub(crate) weight: f64,
}

impl Replica {
    /// Makes a replica from its address.
    ///
    /// # Errors
    ///
    /// Those of [`Config::new`](crate::Config::new).
    pub fn new(url: &str) -> Result<Self, Error> {
        Ok(Address::parse(url)?.into())
    }

    /// Sets the share of the reads, relative to the other replicas. Defaults to 1.
    ///
    /// A replica of weight 0 is read from only while no other can be used. Other weights are 0.001
    /// to 1000. A weight that is not allowed is refused when the store connects or the replica is
    /// added.
    pub fn weight(self, weight: f64) -> Self {
        Self { weight, ..self }
    }

    /// Checks the weight.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let weight = self.weight;
        if weight == 0.0 || (MIN_WEIGHT..=MAX_WEIGHT).contains(&weight) {
            return Ok(());
        }
        let reason = format!("is {weight}, allowed are 0 and {MIN_WEIGHT} to {MAX_WEIGHT}");
        Err(Error::invalid_config("weight", reason))
    }
}

impl From<Address> for Replica {
    fn from(address: Address) -> Self {
        Self { address, weight: 1.0 }
    }
}

impl TryFrom<&str> for Replica {
    type Error = Error;

    fn try_from(url: &str) -> Result<Self, Error> {
        Self::new(url)
    }
}

impl TryFrom<&String> for Replica {
    type Error = Error;

    fn try_from(url: &String) -> Result<Self, Error> {
        Self::new(url)
    }
}

/// Formats the replica without its address, which may contain a password.
impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica").field("weight", &self.weight).finish_non_exhaustive()
    }
}

const MIN_WEIGHT: f64 = 0.001;
const MAX_WEIGHT: f64 = 1000.0;

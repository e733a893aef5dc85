//! Begins each intention at its time.

mod limit;

use std::time::Instant;

use crate::plan::Intention;

pub use self::limit::{Limit, LimitRound, LimitStep};

/// Carries out intentions.
pub trait Carry: Clone + Send + Sync + 'static {
    /// Carries out an intention that was to begin at a time. Counts and records what came of it.
    fn carry(&self, intention: Intention, intended: Instant) -> impl Future<Output = ()> + Send;
}

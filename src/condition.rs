use crate::{Filter, SequenceNumber};

/// Says what must not have happened for an append to be accepted.
///
/// It comes from the history that the append was decided from
/// ([`History::condition`](crate::History::condition)), or says for what it stands by one of its
/// constructors. There is no default:
///
/// ```compile_fail,E0599
/// # use eddyline::AppendCondition;
/// let condition = AppendCondition::default();
/// ```
///
/// An append that may follow anything says so:
///
/// ```
/// # use eddyline::AppendCondition;
/// let condition = AppendCondition::none();
/// ```
///
/// A position alone is no condition; it must say for which events it stands:
///
/// ```compile_fail,E0061
/// # use eddyline::{AppendCondition, Filter, SequenceNumber};
/// let condition = AppendCondition::no_match_after(SequenceNumber::new(7));
/// ```
///
/// ```
/// # use eddyline::{AppendCondition, Filter, SequenceNumber};
/// let condition = AppendCondition::no_match_after(Filter::everything(), SequenceNumber::new(7));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct AppendCondition {
    guard: Option<Guard>,
}

/// No event of the filter may have come after the position.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    pub(crate) filter: Filter,
    pub(crate) after: SequenceNumber,
}

impl AppendCondition {
    /// Lets the append follow anything.
    pub fn none() -> Self {
        Self { guard: None }
    }

    /// Demands that no event of the filter was ever appended.
    pub fn no_match(filter: Filter) -> Self {
        Self::no_match_after(filter, SequenceNumber::ZERO)
    }

    /// Demands that no event of the filter was appended after the position.
    ///
    /// This is for positions that travelled through a client, of an edit form for instance; they
    /// must be those of a history read for the same filter from a read-write store.
    pub fn no_match_after(filter: Filter, position: SequenceNumber) -> Self {
        Self { guard: Some(Guard { filter, after: position }) }
    }

    pub(crate) fn guard(&self) -> Option<&Guard> {
        self.guard.as_ref()
    }
}

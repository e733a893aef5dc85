use crate::sql::BatchAnswer;
use crate::{Bookmark, SequenceNumber};

/// The outcome of a request to append, by the answer of the server or by the tail. All other
/// failures are errors.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum AppendOutcome {
    /// The events were appended and committed.
    Appended { first: SequenceNumber, last: Bookmark },
    /// An event breaks the condition. It may be one of the append's own, stored by an earlier
    /// attempt or call.
    ConditionBroken { event: SequenceNumber },
    /// So many events lie above the validated position that the condition has to be validated by a
    /// search outside of the log's lock.
    ConditionTooOld,
    /// The validated position is of another epoch than the log's current one, so that a search has
    /// to find out whether the log holds the events up to it.
    EpochEnded,
    /// The log holds the id of one of the events. With `may_be_own`, an earlier request of the same
    /// attempt may have stored the events, whatever the reason why they were not appended now: its
    /// batch ended with a statement timeout during the commit and was sent again in halves.
    IdTaken { may_be_own: bool },
    /// The validated position lies above the log's head.
    PositionAhead { head: SequenceNumber },
}

impl AppendOutcome {
    /// Returns the outcome of the only request of a batch. The server validated its condition from
    /// the position `validated` on.
    pub(super) fn of_single(answer: &BatchAnswer, validated: Bookmark) -> Self {
        if let Some(&first) = answer.numbers.first() {
            return Self::Appended { first, last: answer.last() };
        }
        if let Some(&(_, event)) = answer.broken.first() {
            return Self::ConditionBroken { event };
        }
        Self::of_unmet(answer.head, validated).unwrap_or(Self::ConditionTooOld)
    }

    /// Returns why the server could not validate a condition from a position on, if that is known:
    /// the position is of another epoch, or lies above the head.
    pub(super) fn of_unmet(head: Bookmark, validated: Bookmark) -> Option<Self> {
        if validated.epoch().is_some_and(|epoch| head.epoch() != Some(epoch)) {
            return Some(Self::EpochEnded);
        }
        let head = head.position();
        (validated.position() > head).then_some(Self::PositionAhead { head })
    }
}

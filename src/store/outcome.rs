use crate::SequenceNumber;
use crate::sql::BatchAnswer;

/// The outcome of an attempt to append that the server has answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum AppendOutcome {
    /// The events were appended and committed.
    Appended { first: SequenceNumber, last: SequenceNumber },
    /// An event breaks the condition. It may be one of the attempt's own, appended before.
    ConditionBroken { event: SequenceNumber },
    /// So many events lie above the condition's position that the condition has to be searched for
    /// outside of the log's lock.
    ConditionTooOld,
    /// The log holds the id of one of the attempt's events. The attempt itself may have stored it,
    /// if it was canceled before and sent again.
    IdTaken { may_be_own: bool },
    /// The condition's position lies above the log's head.
    PositionAhead { head: SequenceNumber },
}

impl AppendOutcome {
    /// Returns the outcome of the only attempt of a batch, whose condition the server validated
    /// from the position `validated` on.
    pub(super) fn of_single(answer: &BatchAnswer, validated: SequenceNumber) -> Self {
        if let (Some(&first), Some(&last)) = (answer.numbers.first(), answer.numbers.last()) {
            return Self::Appended { first, last };
        }
        if let Some(&(_, event)) = answer.broken.first() {
            return Self::ConditionBroken { event };
        }
        match answer.head < validated {
            true => Self::PositionAhead { head: answer.head },
            false => Self::ConditionTooOld,
        }
    }
}

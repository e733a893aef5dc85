use crate::SequenceNumber;
use crate::sql::BatchAnswer;

/// The outcome of a request to append, by the answer of the server or by the tail. All other
/// failures are errors.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum AppendOutcome {
    /// The events were appended and committed.
    Appended { first: SequenceNumber, last: SequenceNumber },
    /// An event breaks the condition. It may be one of the append's own, stored by an earlier
    /// attempt or call.
    ConditionBroken { event: SequenceNumber },
    /// So many events lie above the validated position that the condition has to be validated by a
    /// search outside of the log's lock.
    ConditionTooOld,
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

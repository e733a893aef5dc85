use crate::SequenceNumber;
use crate::sql::BatchAnswer;

/// What an attempt to append came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum AppendOutcome {
    /// The events were appended and committed.
    Appended { first: SequenceNumber, last: SequenceNumber },
    /// So many events lie above the condition's position that it has to be searched for outside of the
    /// log's lock.
    Behind,
    /// An event breaks the condition. It may be one of the attempt's own, appended before.
    Broken { event: SequenceNumber },
    /// The log holds an event with the id of one of the attempt's. The attempt itself may have stored it,
    /// if it was canceled before and sent again.
    IdTaken { may_be_own: bool },
    /// The condition's position lies beyond the log's head.
    PositionAhead { head: SequenceNumber },
}

impl AppendOutcome {
    /// Says what an answer means for the only attempt of a batch, whose condition the server validated
    /// from a position on.
    pub(super) fn of_one(answer: &BatchAnswer, validated: SequenceNumber) -> Self {
        if let (Some(&first), Some(&last)) = (answer.numbers.first(), answer.numbers.last()) {
            return Self::Appended { first, last };
        }
        if let Some(&(_, event)) = answer.broken.first() {
            return Self::Broken { event };
        }
        match answer.head < validated {
            true => Self::PositionAhead { head: answer.head },
            false => Self::Behind,
        }
    }
}

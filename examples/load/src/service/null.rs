use std::sync::atomic::{AtomicU64, Ordering};

use eddyline::SequenceNumber;
use library::commands::{CommandError, Effort, Outcome, Reason, Receipt};
use library::queries::{Answer, Query};
use uuid::Uuid;

use crate::plan::Aim;

/// Handlers without a store: every command ends as intended, and every answer is that of an empty
/// library.
#[derive(Debug, Default)]
pub struct Null {
    head: AtomicU64,
}

impl Null {
    /// Returns the intended outcome. A success or a rejection is at the next position.
    pub fn run(&self, aim: Aim) -> Result<Outcome, CommandError> {
        let effort = Effort { attempts: 1, ..Effort::default() };
        if aim == Aim::Idempotent {
            let position = SequenceNumber::new(self.head.load(Ordering::Relaxed));
            return Ok(Outcome::Idempotent { position, effort });
        }
        let position = SequenceNumber::new(self.head.fetch_add(1, Ordering::Relaxed) + 1);
        let receipt = Receipt { event_id: Uuid::now_v7(), position, effort };
        if aim == Aim::Success {
            return Ok(Outcome::Success(receipt));
        }
        let (event_type, reason) = ("LendingBookToReaderFailed", Reason::BookAlreadyLent);
        Err(CommandError::Rejected { event_type, reason, receipt })
    }

    /// Returns the answer of an empty library.
    pub fn answer<Q: Query>(&self, query: &Q, position: SequenceNumber) -> Answer<Q::Answer> {
        let head = SequenceNumber::new(self.head.load(Ordering::Relaxed));
        Answer {
            value: query.answer(Q::Projection::default()),
            position: head.max(position),
            served_by: "generator".to_owned(),
            attempts: 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use library::queries::BooksLentOut;

    use super::*;

    #[test]
    fn every_command_ends_as_intended() {
        let null = Null::default();

        let receipts = [(); 2].map(|()| null.run(Aim::Success).unwrap().receipt().unwrap());
        let idempotent = null.run(Aim::Idempotent);
        let rejected = null.run(Aim::Rejected);

        assert_eq!(receipts.map(|receipt| receipt.position.value()), [1, 2]);
        assert_ne!(receipts[0].event_id, receipts[1].event_id);
        assert!(matches!(idempotent, Ok(Outcome::Idempotent { .. })), "{idempotent:?}");
        assert!(matches!(rejected, Err(CommandError::Rejected { .. })), "{rejected:?}");
    }

    #[test]
    fn every_answer_is_empty_and_at_the_required_position() {
        let answer = Null::default().answer(&BooksLentOut, SequenceNumber::new(7));

        assert!(answer.value.is_empty());
        assert_eq!(
            (answer.position, answer.served_by.as_str()),
            (SequenceNumber::new(7), "generator")
        );
    }
}

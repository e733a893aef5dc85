use std::sync::atomic::{AtomicU64, Ordering};

use eddyline::SequenceNumber;
use library::commands::{Effort, Outcome, Receipt};
use library::queries::{Answer, Query};
use uuid::Uuid;

/// Handlers without a store: every command succeeds, and every answer is that of an empty library.
#[derive(Debug, Default)]
pub struct Null {
    head: AtomicU64,
}

impl Null {
    /// Returns a success at the next position.
    pub fn run(&self) -> Outcome {
        let position = SequenceNumber::new(self.head.fetch_add(1, Ordering::Relaxed) + 1);
        let effort = Effort { attempts: 1, ..Effort::default() };
        Outcome::Success(Receipt { event_id: Uuid::now_v7(), position, effort })
    }

    /// Returns the answer of an empty library.
    pub fn answer<Q: Query>(&self, query: &Q, position: SequenceNumber) -> Answer<Q::Answer> {
        let head = SequenceNumber::new(self.head.load(Ordering::Relaxed));
        Answer {
            value: query.answer(Q::Projection::default()),
            position: head.max(position),
            served_by: "null".to_owned(),
            attempts: 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use library::queries::BooksLentOut;

    use super::*;

    #[test]
    fn every_command_succeeds_at_the_next_position() {
        let null = Null::default();

        let receipts = [null.run(), null.run()].map(|outcome| outcome.receipt().unwrap());

        assert_eq!(receipts.map(|receipt| receipt.position.value()), [1, 2]);
        assert_ne!(receipts[0].event_id, receipts[1].event_id);
    }

    #[test]
    fn every_answer_is_empty_and_at_the_required_position() {
        let answer = Null::default().answer(&BooksLentOut, SequenceNumber::new(7));

        assert!(answer.value.is_empty());
        assert_eq!((answer.position, answer.served_by.as_str()), (SequenceNumber::new(7), "null"));
    }
}

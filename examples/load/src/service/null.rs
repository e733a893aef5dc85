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

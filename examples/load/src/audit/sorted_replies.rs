use std::vec;

use eddyline::SequenceNumber;

/// Replies in the order of their positions. The replay takes each one when it has reached its
/// position.
#[derive(Debug)]
pub struct SortedReplies<T> {
    replies: std::iter::Peekable<vec::IntoIter<T>>,
    position: fn(&T) -> SequenceNumber,
}

impl<T> SortedReplies<T> {
    /// Sorts replies by their positions.
    pub fn new(mut replies: Vec<T>, position: fn(&T) -> SequenceNumber) -> Self {
        replies.sort_by_key(position);
        Self { replies: replies.into_iter().peekable(), position }
    }

    /// Returns the next reply if its position is at most this one.
    pub fn next_up_to(&mut self, limit: SequenceNumber) -> Option<T> {
        let position = self.position;
        self.replies.next_if(|reply| position(reply) <= limit)
    }
}

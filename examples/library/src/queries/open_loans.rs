use crate::domain::{BookId, DomainEvent, ReaderId};
use crate::queries::chronology::Chronology;
use crate::queries::{Projection, Recorded};

/// Holds which copies are lent, to whom, and since when.
#[derive(Clone, Debug, Default)]
pub struct OpenLoans {
    pub(crate) loans: Chronology<BookId, ReaderId>,
}

impl Projection for OpenLoans {
    fn apply(&mut self, recorded: Recorded) {
        let at = recorded.sequence_number;
        match recorded.event {
            DomainEvent::BookCopyLentToReader(lent) => {
                self.loans.begin(lent.book, lent.reader, lent.occurred_at, at);
            }
            DomainEvent::BookCopyReturnedByReader(returned) => self.loans.end(&returned.book),
            _ => {}
        }
    }
}

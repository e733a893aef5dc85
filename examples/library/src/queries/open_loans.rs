use crate::domain::{BookId, DomainEvent, ReaderId};
use crate::queries::chronological_map::ChronologicalMap;
use crate::queries::{Projection, SequencedDomainEvent};

/// The projection of the open loans: the lent copies with their borrowers and times.
#[derive(Clone, Debug, Default)]
pub struct OpenLoans {
    pub(crate) loans: ChronologicalMap<BookId, ReaderId>,
}

impl Projection for OpenLoans {
    fn apply(&mut self, sequenced: SequencedDomainEvent) {
        let position = sequenced.sequence_number;
        match sequenced.event {
            DomainEvent::BookCopyLentToReader(lent) => {
                self.loans.insert(lent.book, lent.reader, lent.occurred_at, position);
            }
            DomainEvent::BookCopyReturnedByReader(returned) => self.loans.remove(&returned.book),
            _ => {}
        }
    }
}

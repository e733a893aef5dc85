use eddyline::{Error, Filter};

use crate::domain::{DomainEvent, OccurredAt, ReaderContractCanceled, ReaderId, ReaderRegistered};
use crate::queries::chronological_map::ChronologicalMap;
use crate::queries::{Projection, Query, SequencedDomainEvent};

/// A query for the readers whose contracts are canceled, the oldest cancellation first. Readers who
/// registered again are excluded.
#[derive(Clone, Copy, Debug)]
pub struct CanceledReaders;

/// A reader whose contract is canceled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CanceledReader {
    /// The reader.
    pub reader: ReaderId,
    /// The time of the last cancellation.
    pub canceled_at: OccurredAt,
}

/// The projection of the cancellations that no later registration follows.
#[derive(Clone, Debug, Default)]
pub struct Cancellations {
    readers: ChronologicalMap<ReaderId>,
}

impl Projection for Cancellations {
    fn apply(&mut self, sequenced: SequencedDomainEvent) {
        let position = sequenced.sequence_number;
        match sequenced.event {
            DomainEvent::ReaderContractCanceled(canceled) => {
                self.readers.insert(canceled.reader, (), canceled.occurred_at, position);
            }
            DomainEvent::ReaderRegistered(registered) => self.readers.remove(&registered.reader),
            _ => {}
        }
    }
}

impl Query for CanceledReaders {
    const NAME: &'static str = "CanceledReaders";
    type Projection = Cancellations;
    type Answer = Vec<CanceledReader>;

    fn filter(&self) -> Result<Filter, Error> {
        Filter::types([ReaderRegistered::EVENT_TYPE, ReaderContractCanceled::EVENT_TYPE]).build()
    }

    fn answer(&self, projection: Cancellations) -> Vec<CanceledReader> {
        let readers = projection.readers.into_oldest_first().into_iter();
        readers.map(|(reader, entry)| CanceledReader { reader, canceled_at: entry.since }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{at, canceled, log, reader, registered};
    use crate::queries::answer;

    fn entry(number: u32, canceled_at: u32) -> CanceledReader {
        CanceledReader { reader: reader(number), canceled_at: at(canceled_at) }
    }

    #[test]
    fn answer_is_empty_if_no_contract_is_canceled() {
        assert_eq!(answer(&CanceledReaders, []), []);
        assert_eq!(answer(&CanceledReaders, log([registered(reader(1), 1)])), []);
    }

    #[test]
    fn lists_the_oldest_cancellation_first() {
        let events = log([
            registered(reader(1), 1),
            registered(reader(2), 2),
            registered(reader(3), 3),
            registered(reader(4), 4),
            canceled(reader(3), 9),
            canceled(reader(2), 7),
            canceled(reader(1), 7),
        ]);

        assert_eq!(answer(&CanceledReaders, events), [entry(2, 7), entry(1, 7), entry(3, 9)]);
    }

    #[test]
    fn excludes_readers_who_registered_again() {
        let events = log([
            registered(reader(1), 1),
            registered(reader(2), 2),
            canceled(reader(1), 3),
            canceled(reader(2), 4),
            registered(reader(1), 5),
        ]);

        assert_eq!(answer(&CanceledReaders, events), [entry(2, 4)]);
    }

    #[test]
    fn has_the_latest_time_of_a_contract_that_was_canceled_again() {
        let events = log([
            registered(reader(1), 1),
            canceled(reader(1), 2),
            registered(reader(1), 3),
            canceled(reader(1), 4),
        ]);

        assert_eq!(answer(&CanceledReaders, events), [entry(1, 4)]);
    }
}

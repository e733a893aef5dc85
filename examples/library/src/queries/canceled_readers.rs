use eddyline::{Error, Filter};

use crate::domain::{DomainEvent, OccurredAt, ReaderContractCanceled, ReaderId, ReaderRegistered};
use crate::queries::chronology::Chronology;
use crate::queries::{Projection, Query, Recorded};

/// Asks whose contract was canceled and who did not register again, the longest canceled first.
#[derive(Clone, Copy, Debug)]
pub struct CanceledReaders;

/// Is a reader whose contract was canceled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CanceledReader {
    /// The reader.
    pub reader: ReaderId,
    /// When, the last time if there were several.
    pub canceled_at: OccurredAt,
}

/// Holds the cancellations that no registration followed.
#[derive(Clone, Debug, Default)]
pub struct Cancellations {
    readers: Chronology<ReaderId>,
}

impl Projection for Cancellations {
    fn apply(&mut self, recorded: Recorded) {
        let at = recorded.sequence_number;
        match recorded.event {
            DomainEvent::ReaderContractCanceled(canceled) => {
                self.readers.begin(canceled.reader, (), canceled.occurred_at, at);
            }
            DomainEvent::ReaderRegistered(registered) => self.readers.end(&registered.reader),
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
    fn answers_nothing_while_all_contracts_are_in_force() {
        assert_eq!(answer(&CanceledReaders, []), []);
        assert_eq!(answer(&CanceledReaders, log([registered(reader(1), 1)])), []);
    }

    #[test]
    fn names_readers_the_longest_canceled_first() {
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
    fn leaves_out_who_registered_again() {
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
    fn dates_a_contract_that_was_canceled_again_by_the_last_time() {
        let events = log([
            registered(reader(1), 1),
            canceled(reader(1), 2),
            registered(reader(1), 3),
            canceled(reader(1), 4),
        ]);

        assert_eq!(answer(&CanceledReaders, events), [entry(1, 4)]);
    }
}

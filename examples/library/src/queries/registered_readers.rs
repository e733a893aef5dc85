use eddyline::{Error, Filter};

use crate::domain::{DomainEvent, OccurredAt, ReaderContractCanceled, ReaderId, ReaderRegistered};
use crate::queries::chronological_map::ChronologicalMap;
use crate::queries::{Projection, Query, SequencedDomainEvent};

/// A query for the registered readers, the oldest registration first.
#[derive(Clone, Copy, Debug)]
pub struct RegisteredReaders;

/// A registered reader.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RegisteredReader {
    /// The reader.
    pub reader: ReaderId,
    /// The name of the reader.
    pub name: String,
    /// The time of the last registration.
    pub registered_at: OccurredAt,
}

/// The projection of the registered readers, with their names.
#[derive(Clone, Debug, Default)]
pub struct Contracts {
    readers: ChronologicalMap<ReaderId, String>,
}

impl Projection for Contracts {
    fn apply(&mut self, sequenced: SequencedDomainEvent) {
        let position = sequenced.sequence_number;
        match sequenced.event {
            DomainEvent::ReaderRegistered(registered) => {
                let ReaderRegistered { reader, name, occurred_at } = registered;
                self.readers.insert(reader, name, occurred_at, position);
            }
            DomainEvent::ReaderContractCanceled(canceled) => self.readers.remove(&canceled.reader),
            _ => {}
        }
    }
}

impl Query for RegisteredReaders {
    const NAME: &'static str = "RegisteredReaders";
    type Projection = Contracts;
    type Answer = Vec<RegisteredReader>;

    fn filter(&self) -> Result<Filter, Error> {
        Filter::types([ReaderRegistered::EVENT_TYPE, ReaderContractCanceled::EVENT_TYPE]).build()
    }

    fn answer(&self, projection: Contracts) -> Vec<RegisteredReader> {
        let readers = projection.readers.into_oldest_first().into_iter();
        readers
            .map(|(reader, entry)| RegisteredReader {
                reader,
                name: entry.value,
                registered_at: entry.since,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{NAME, at, canceled, log, reader, registered};
    use crate::queries::answer;

    fn entry(number: u32, registered_at: u32) -> RegisteredReader {
        RegisteredReader {
            reader: reader(number),
            name: NAME.to_owned(),
            registered_at: at(registered_at),
        }
    }

    #[test]
    fn answer_for_an_empty_log_is_empty() {
        assert_eq!(answer(&RegisteredReaders, []), []);
    }

    #[test]
    fn lists_the_oldest_registration_first() {
        let events =
            log([registered(reader(1), 5), registered(reader(3), 2), registered(reader(2), 2)]);

        assert_eq!(answer(&RegisteredReaders, events), [entry(3, 2), entry(2, 2), entry(1, 5)]);
    }

    #[test]
    fn excludes_canceled_readers() {
        let some =
            log([registered(reader(1), 1), registered(reader(2), 2), canceled(reader(1), 3)]);
        let all = log([registered(reader(1), 1), canceled(reader(1), 2)]);

        assert_eq!(answer(&RegisteredReaders, some), [entry(2, 2)]);
        assert_eq!(answer(&RegisteredReaders, all), []);
    }

    #[test]
    fn has_the_latest_time_of_a_reader_who_registered_again() {
        let events = log([
            registered(reader(1), 1),
            registered(reader(2), 2),
            canceled(reader(1), 3),
            registered(reader(1), 4),
        ]);

        assert_eq!(answer(&RegisteredReaders, events), [entry(2, 2), entry(1, 4)]);
    }
}

use eddyline::{Error, Filter};

use crate::domain::{DomainEvent, OccurredAt, ReaderContractCanceled, ReaderId, ReaderRegistered};
use crate::queries::chronology::Chronology;
use crate::queries::{Projection, Query, Recorded};

/// Asks who is registered, the longest registered first.
#[derive(Clone, Copy, Debug)]
pub struct RegisteredReaders;

/// Is a reader who may borrow.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RegisteredReader {
    /// The reader.
    pub reader: ReaderId,
    /// How the reader is called.
    pub name: String,
    /// Since when, after a cancellation since the last registration.
    pub registered_at: OccurredAt,
}

/// Holds the contracts in force, with the readers' names.
#[derive(Clone, Debug, Default)]
pub struct Contracts {
    readers: Chronology<ReaderId, String>,
}

impl Projection for Contracts {
    fn apply(&mut self, recorded: Recorded) {
        let at = recorded.sequence_number;
        match recorded.event {
            DomainEvent::ReaderRegistered(registered) => {
                let ReaderRegistered { reader, name, occurred_at } = registered;
                self.readers.begin(reader, name, occurred_at, at);
            }
            DomainEvent::ReaderContractCanceled(canceled) => self.readers.end(&canceled.reader),
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
    fn answers_nothing_about_an_empty_log() {
        assert_eq!(answer(&RegisteredReaders, []), []);
    }

    #[test]
    fn names_readers_the_longest_registered_first() {
        let events =
            log([registered(reader(1), 5), registered(reader(3), 2), registered(reader(2), 2)]);

        assert_eq!(answer(&RegisteredReaders, events), [entry(3, 2), entry(2, 2), entry(1, 5)]);
    }

    #[test]
    fn leaves_canceled_readers_out() {
        let some =
            log([registered(reader(1), 1), registered(reader(2), 2), canceled(reader(1), 3)]);
        let all = log([registered(reader(1), 1), canceled(reader(1), 2)]);

        assert_eq!(answer(&RegisteredReaders, some), [entry(2, 2)]);
        assert_eq!(answer(&RegisteredReaders, all), []);
    }

    #[test]
    fn dates_a_reader_who_registered_again_by_the_last_time() {
        let events = log([
            registered(reader(1), 1),
            registered(reader(2), 2),
            canceled(reader(1), 3),
            registered(reader(1), 4),
        ]);

        assert_eq!(answer(&RegisteredReaders, events), [entry(2, 2), entry(1, 4)]);
    }
}

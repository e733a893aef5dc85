use eddyline::{Error, Filter};

use crate::commands::{Command, Decision};
use crate::domain::{DomainEvent, OccurredAt, ReaderContractCanceled, ReaderId, ReaderRegistered};

/// A command to register a reader, for the first time or after a cancellation.
#[derive(Clone, Debug)]
pub struct RegisterReader {
    /// The reader.
    pub reader: ReaderId,
    /// The name of the reader.
    pub name: String,
    /// The time of the event.
    pub occurred_at: OccurredAt,
}

/// The decision model for the registration of a reader.
#[derive(Debug, Default)]
pub struct Model {
    registered: bool,
}

impl Command for RegisterReader {
    const NAME: &'static str = "RegisterReader";
    type Model = Model;

    fn filter(&self) -> Result<Filter, Error> {
        Filter::types([ReaderRegistered::EVENT_TYPE, ReaderContractCanceled::EVENT_TYPE])
            .any_of([("ReaderID", self.reader)])
            .build()
    }

    fn apply(&self, model: &mut Model, event: DomainEvent) {
        match event {
            DomainEvent::ReaderRegistered(registered) if registered.reader == self.reader => {
                model.registered = true;
            }
            DomainEvent::ReaderContractCanceled(canceled) if canceled.reader == self.reader => {
                model.registered = false;
            }
            _ => {}
        }
    }

    fn decide(&self, model: &Model) -> Decision {
        if model.registered {
            return Decision::Idempotent;
        }
        Decision::success(ReaderRegistered {
            reader: self.reader,
            name: self.name.clone(),
            occurred_at: self.occurred_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::decide;
    use crate::fixtures::{NAME, at, canceled, reader, registered};

    fn command() -> RegisterReader {
        RegisterReader { reader: reader(1), name: NAME.to_owned(), occurred_at: at(9) }
    }

    fn success() -> Decision {
        Decision::Success(registered(reader(1), 9))
    }

    #[test]
    fn registers_an_unknown_reader() {
        assert_eq!(decide(&command(), []), success());
    }

    #[test]
    fn registers_a_reader_again_after_a_cancellation() {
        let history = [registered(reader(1), 1), canceled(reader(1), 2)];

        assert_eq!(decide(&command(), history), success());
    }

    #[test]
    fn is_idempotent_while_the_reader_is_registered() {
        assert_eq!(decide(&command(), [registered(reader(1), 1)]), Decision::Idempotent);
    }

    #[test]
    fn is_idempotent_if_the_last_event_is_a_registration() {
        let history = [
            registered(reader(1), 1),
            canceled(reader(1), 2),
            registered(reader(1), 3),
            canceled(reader(1), 4),
            registered(reader(1), 5),
        ];

        assert_eq!(decide(&command(), history), Decision::Idempotent);
    }

    #[test]
    fn ignores_other_readers() {
        let history = [registered(reader(2), 1)];

        assert_eq!(decide(&command(), history), success());
    }
}

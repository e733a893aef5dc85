use eddyline::{Error, Filter, SequenceNumber};

use crate::domain::{BookCopyReturnedByReader, BookId, DomainEvent, OccurredAt, ReaderId};
use crate::queries::{Projection, Query, Recorded};

/// Asks for the loans that ended.
#[derive(Clone, Copy, Debug)]
pub struct FinishedLendings {
    /// The most loans to name.
    pub max: usize,
    /// Which of them to name, and in which order.
    pub order: Order,
}

/// Says at which end of time to begin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    /// The last return comes first.
    NewestFirst,
    /// The first return comes first.
    OldestFirst,
}

/// Is what [`FinishedLendings`] is answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lendings {
    /// The loans named.
    pub lendings: Vec<FinishedLending>,
    /// How many are named.
    pub count: usize,
    /// How many there are.
    pub total: usize,
}

/// Is a loan that ended. A reader who borrows a copy again and again has many of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FinishedLending {
    /// The copy.
    pub book: BookId,
    /// Who had it.
    pub reader: ReaderId,
    /// When it was returned.
    pub returned_at: OccurredAt,
}

/// Holds every return, whatever the limit of who asks.
#[derive(Clone, Debug, Default)]
pub struct Returns {
    returns: Vec<(SequenceNumber, FinishedLending)>,
}

impl Projection for Returns {
    fn apply(&mut self, recorded: Recorded) {
        if let DomainEvent::BookCopyReturnedByReader(returned) = recorded.event {
            let lending = FinishedLending {
                book: returned.book,
                reader: returned.reader,
                returned_at: returned.occurred_at,
            };
            self.returns.push((recorded.sequence_number, lending));
        }
    }
}

impl Query for FinishedLendings {
    const NAME: &'static str = "FinishedLendings";
    type Projection = Returns;
    type Answer = Lendings;

    fn filter(&self) -> Result<Filter, Error> {
        Filter::types([BookCopyReturnedByReader::EVENT_TYPE]).build()
    }

    fn answer(&self, projection: Returns) -> Lendings {
        let mut returns = projection.returns;
        let total = returns.len();
        returns.sort_unstable_by_key(|(number, lending)| (lending.returned_at, *number));
        if self.order == Order::NewestFirst {
            returns.reverse();
        }
        let named = returns.into_iter().take(self.max);
        let lendings: Vec<_> = named.map(|(_, lending)| lending).collect();
        Lendings { count: lendings.len(), lendings, total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{at, book, lent, log, reader, returned};
    use crate::queries::answer;

    fn query(max: usize, order: Order) -> FinishedLendings {
        FinishedLendings { max, order }
    }

    fn lending(book_number: u32, reader_number: u32, returned_at: u32) -> FinishedLending {
        FinishedLending {
            book: book(book_number),
            reader: reader(reader_number),
            returned_at: at(returned_at),
        }
    }

    fn returns() -> Vec<Recorded> {
        log([
            returned(book(1), reader(1), 5),
            returned(book(2), reader(2), 3),
            returned(book(3), reader(1), 3),
            returned(book(1), reader(1), 9),
        ])
    }

    #[test]
    fn answers_nothing_about_an_empty_log() {
        let answered = answer(&query(10, Order::NewestFirst), []);

        assert_eq!((answered.count, answered.total), (0, 0));
        assert_eq!(answered.lendings, []);
    }

    #[test]
    fn ignores_loans_that_go_on() {
        let events = log([
            lent(book(1), reader(1), 1),
            lent(book(2), reader(1), 2),
            returned(book(2), reader(1), 3),
        ]);

        let answered = answer(&query(10, Order::OldestFirst), events);

        assert_eq!(answered.lendings, [lending(2, 1, 3)]);
    }

    #[test]
    fn names_the_oldest_first_and_each_return_of_a_copy() {
        let answered = answer(&query(10, Order::OldestFirst), returns());

        let named = [lending(2, 2, 3), lending(3, 1, 3), lending(1, 1, 5), lending(1, 1, 9)];
        assert_eq!(answered.lendings, named);
    }

    #[test]
    fn names_the_newest_first() {
        let answered = answer(&query(10, Order::NewestFirst), returns());

        let named = [lending(1, 1, 9), lending(1, 1, 5), lending(3, 1, 3), lending(2, 2, 3)];
        assert_eq!(answered.lendings, named);
    }

    #[test]
    fn cuts_the_answer_and_not_the_total() {
        let oldest = answer(&query(2, Order::OldestFirst), returns());
        let newest = answer(&query(1, Order::NewestFirst), returns());
        let none = answer(&query(0, Order::NewestFirst), returns());

        assert_eq!(oldest.lendings, [lending(2, 2, 3), lending(3, 1, 3)]);
        assert_eq!((oldest.count, oldest.total), (2, 4));
        assert_eq!(newest.lendings, [lending(1, 1, 9)]);
        assert_eq!((newest.count, newest.total), (1, 4));
        assert_eq!((none.count, none.total), (0, 4));
    }

    #[test]
    fn keeps_all_returns_for_whoever_asks_next() {
        let mut projection = Returns::default();
        returns().into_iter().for_each(|event| projection.apply(event));

        let cut = query(1, Order::NewestFirst).answer(projection.clone());
        let whole = query(10, Order::NewestFirst).answer(projection);

        assert_eq!((cut.count, whole.count), (1, 4));
    }
}

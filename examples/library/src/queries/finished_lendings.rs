use eddyline::{Error, Filter, SequenceNumber};

use crate::domain::{BookCopyReturnedByReader, BookId, DomainEvent, OccurredAt, ReaderId};
use crate::queries::{Projection, Query, SequencedDomainEvent};

/// A query for the finished loans.
#[derive(Clone, Copy, Debug)]
pub struct FinishedLendings {
    /// The maximum number of loans in the answer.
    pub max: usize,
    /// The order, which also selects the loans if there are more than `max`.
    pub order: Order,
}

/// The order of finished loans.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    /// The last return comes first.
    NewestFirst,
    /// The first return comes first.
    OldestFirst,
}

/// The answer to [`FinishedLendings`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lendings {
    /// The selected loans.
    pub lendings: Vec<FinishedLending>,
    /// The number of selected loans.
    pub count: usize,
    /// The number of all finished loans.
    pub total: usize,
}

/// A finished loan. There is one for each return, also of the same copy by the same reader.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FinishedLending {
    /// The copy.
    pub book: BookId,
    /// The borrower.
    pub reader: ReaderId,
    /// The time of the return.
    pub returned_at: OccurredAt,
}

/// The projection of all returns. It does not depend on the limit of a query.
#[derive(Clone, Debug, Default)]
pub struct Returns {
    returns: Vec<(SequenceNumber, FinishedLending)>,
}

impl Projection for Returns {
    fn apply(&mut self, sequenced: SequencedDomainEvent) {
        if let DomainEvent::BookCopyReturnedByReader(returned) = sequenced.event {
            let lending = FinishedLending {
                book: returned.book,
                reader: returned.reader,
                returned_at: returned.occurred_at,
            };
            self.returns.push((sequenced.sequence_number, lending));
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
        let selected = returns.into_iter().take(self.max);
        let lendings: Vec<_> = selected.map(|(_, lending)| lending).collect();
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

    fn returns() -> Vec<SequencedDomainEvent> {
        log([
            returned(book(1), reader(1), 5),
            returned(book(2), reader(2), 3),
            returned(book(3), reader(1), 3),
            returned(book(1), reader(1), 9),
        ])
    }

    #[test]
    fn answer_for_an_empty_log_is_empty() {
        let answered = answer(&query(10, Order::NewestFirst), []);

        assert_eq!((answered.count, answered.total), (0, 0));
        assert_eq!(answered.lendings, []);
    }

    #[test]
    fn excludes_open_loans() {
        let events = log([
            lent(book(1), reader(1), 1),
            lent(book(2), reader(1), 2),
            returned(book(2), reader(1), 3),
        ]);

        let answered = answer(&query(10, Order::OldestFirst), events);

        assert_eq!(answered.lendings, [lending(2, 1, 3)]);
    }

    #[test]
    fn lists_each_return_of_a_copy_the_oldest_first() {
        let answered = answer(&query(10, Order::OldestFirst), returns());

        let expected = [lending(2, 2, 3), lending(3, 1, 3), lending(1, 1, 5), lending(1, 1, 9)];
        assert_eq!(answered.lendings, expected);
    }

    #[test]
    fn lists_the_newest_first() {
        let answered = answer(&query(10, Order::NewestFirst), returns());

        let expected = [lending(1, 1, 9), lending(1, 1, 5), lending(3, 1, 3), lending(2, 2, 3)];
        assert_eq!(answered.lendings, expected);
    }

    #[test]
    fn limits_the_answer_and_not_the_total() {
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
    fn projection_keeps_all_returns_for_queries_with_other_limits() {
        let mut projection = Returns::default();
        returns().into_iter().for_each(|event| projection.apply(event));

        let limited = query(1, Order::NewestFirst).answer(projection.clone());
        let whole = query(10, Order::NewestFirst).answer(projection);

        assert_eq!((limited.count, whole.count), (1, 4));
    }
}

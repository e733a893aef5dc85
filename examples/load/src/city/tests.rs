//! The choices of a city, tried on a library in memory.

use std::collections::{BTreeSet, HashMap};

use eddyline::SequenceNumber;
use library::commands::{Command, Decision, decide};
use library::domain::{BookId, DomainEvent, ReaderId};

use super::{City, CityBuilder, End, Operation, Request, Skew};
use crate::import::{CitySize, fill_without_store};
use crate::plan::{Aim, Crowd, Intention, MixOptions, Visits};

/// A library without a store: the events, and which of them concern a copy or a reader.
#[derive(Default)]
struct Library {
    events: Vec<DomainEvent>,
    by_book: HashMap<BookId, Vec<usize>>,
    by_reader: HashMap<ReaderId, Vec<usize>>,
}

impl Library {
    fn add(&mut self, event: DomainEvent, book: Option<BookId>, reader: Option<ReaderId>) {
        let index = self.events.len();
        self.events.push(event);
        if let Some(book) = book {
            self.by_book.entry(book).or_default().push(index);
        }
        if let Some(reader) = reader {
            self.by_reader.entry(reader).or_default().push(index);
        }
    }

    fn run<C: Command>(
        &mut self,
        command: &C,
        book: Option<BookId>,
        reader: Option<ReaderId>,
    ) -> End {
        let of_book = book.and_then(|book| self.by_book.get(&book)).into_iter().flatten();
        let of_reader = reader.and_then(|reader| self.by_reader.get(&reader)).into_iter().flatten();
        let indexes: BTreeSet<usize> = of_book.chain(of_reader).copied().collect();
        let decision = decide(command, indexes.into_iter().map(|index| self.events[index].clone()));
        let position = SequenceNumber::new(self.events.len() as u64 + 1);
        match decision {
            Decision::Idempotent => End::Idempotent,
            Decision::Rejected(event, _) => {
                self.add(event, book, reader);
                End::Rejected { position }
            }
            Decision::Success(event) => {
                self.add(event, book, reader);
                End::Success { position }
            }
        }
    }

    /// Runs a command. Returns `None` for a query, after a check that the city knows the loans.
    fn serve(&mut self, operation: &Operation) -> Option<End> {
        Some(match &operation.request {
            Request::Add(add) => self.run(add, Some(add.book), None),
            Request::Cancel(cancel) => self.run(cancel, None, Some(cancel.reader)),
            Request::Lend(lend) => self.run(lend, Some(lend.book), Some(lend.reader)),
            Request::Register(register) => self.run(register, None, Some(register.reader)),
            Request::Remove(remove) => self.run(remove, Some(remove.book), None),
            Request::Return(back) => self.run(back, Some(back.book), Some(back.reader)),
            Request::List(_) => return None,
            Request::Browse(browse) => {
                let indexes = self.by_reader.get(&browse.query.reader).into_iter().flatten();
                let mut loans = BTreeSet::new();
                for index in indexes {
                    match &self.events[*index] {
                        DomainEvent::BookCopyLentToReader(lent) => loans.insert(lent.book),
                        DomainEvent::BookCopyReturnedByReader(back) => loans.remove(&back.book),
                        _ => false,
                    };
                }
                assert_eq!(browse.loans.iter().copied().collect::<BTreeSet<_>>(), loans);
                return None;
            }
        })
    }
}

/// How often commands with an aim ended in a way.
type Counts = HashMap<(Aim, Aim), u64>;

fn skew() -> Skew {
    Skew { copies: 0.7, readers: 0.5 }
}

fn intentions(readers: u32, seed: u64) -> Visits {
    let options = MixOptions {
        groups: vec![70.0, 25.0, 5.0],
        queries: 20.0,
        lists: 0.5,
        idempotent: 5.0,
        rejected: 8.0,
        lost_rounds: 2.0,
    };
    Visits::new(options.check().unwrap(), readers, seed)
}

fn filled(size: CitySize) -> (City, Library) {
    let (mut builder, mut library) = (CityBuilder::new(skew()), Library::default());
    fill_without_store(&mut builder, size, 1, |event| match &event {
        DomainEvent::BookCopyAddedToCirculation(added) => {
            let book = added.book;
            library.add(event, Some(book), None);
        }
        DomainEvent::ReaderRegistered(registered) => {
            let reader = registered.reader;
            library.add(event, None, Some(reader));
        }
        DomainEvent::BookCopyLentToReader(lent) => {
            let (book, reader) = (lent.book, lent.reader);
            library.add(event, Some(book), Some(reader));
        }
        other => panic!("{other:?}"),
    });
    (builder.build(SequenceNumber::ZERO), library)
}

/// Carries out intentions one after the other. Returns how commands ended, and how many were not
/// possible.
fn carry_out(size: CitySize, seed: u64, count: usize) -> (Counts, u64) {
    let (city, mut library) = filled(size);
    let (mut counts, mut impossible) = (Counts::new(), 0);
    for intention in intentions(size.readers, seed).take(count) {
        let operations = city.begin(&intention);
        impossible += intention.crowd.operations() - operations.len() as u64;
        for operation in operations {
            let end = library.serve(&operation);
            let aim = operation.aim;
            let got = match end {
                Some(End::Success { .. }) => Aim::Success,
                Some(End::Rejected { .. }) => Aim::Rejected,
                Some(_) => Aim::Idempotent,
                None => {
                    city.end(operation, End::Answered);
                    continue;
                }
            };
            if intention.crowd != Crowd::OneCopy {
                *counts.entry((aim, got)).or_default() += 1;
            }
            city.end(operation, end.expect("a command ends"));
        }
        city.leave(&intention);
    }
    (counts, impossible)
}

#[test]
fn commands_end_as_intended() {
    let size = CitySize { books: 3_000, readers: 700, loans: 700 };

    let (counts, impossible) = carry_out(size, 1, 30_000);

    let total: u64 = counts.values().sum();
    let other: u64 = counts.iter().filter(|((aim, got), _)| aim != got).map(|(_, n)| n).sum();
    assert!(other * 200 < total, "{counts:?}");
    assert!(impossible * 1_000 < total, "{impossible}");
    for aim in [Aim::Idempotent, Aim::Rejected, Aim::Success] {
        assert!(counts[&(aim, aim)] > 500, "{counts:?}");
    }
}

#[test]
fn the_smallest_city_goes_on() {
    let size = CitySize { books: 100, readers: 100, loans: 50 };

    let (counts, impossible) = carry_out(size, 2, 20_000);

    let total: u64 = counts.values().sum();
    assert!(counts[&(Aim::Success, Aim::Success)] * 10 > total * 8, "{counts:?}");
    assert!(impossible * 20 < total, "{impossible}");
}

#[test]
fn a_city_without_loans_begins_with_loans() {
    let size = CitySize { books: 500, readers: 200, loans: 0 };

    let (counts, _) = carry_out(size, 3, 5_000);

    assert!(counts[&(Aim::Success, Aim::Success)] > 2_000, "{counts:?}");
}

#[test]
fn pairs_want_one_copy_or_use_one_card() {
    let (city, _) = filled(CitySize { books: 500, readers: 200, loans: 200 });
    let pair = |crowd| {
        let mut pairs = intentions(200, 4).filter(|intention| intention.crowd == crowd);
        city.begin(&pairs.next().unwrap())
    };
    let lends = |operations: &[Operation]| -> Vec<_> {
        let lend = |operation: &Operation| match &operation.request {
            Request::Lend(lend) => (lend.book, lend.reader),
            other => panic!("{other:?}"),
        };
        operations.iter().map(lend).collect()
    };

    let (card, copy) = (pair(Crowd::OneCard), pair(Crowd::OneCopy));

    let ([first, second], [third, fourth]) = (&lends(&card)[..], &lends(&copy)[..]) else {
        panic!("{card:?} {copy:?}")
    };
    assert!(first.1 == second.1 && first.0 != second.0);
    assert!(third.0 == fourth.0 && third.1 != fourth.1);
}

#[test]
fn the_same_reader_and_copy_are_not_used_twice_at_a_time() {
    let (city, _) = filled(CitySize { books: 300, readers: 100, loans: 100 });
    let (mut books, mut readers) = (BTreeSet::new(), BTreeSet::new());
    let lends = intentions(100, 5).filter(|intention| intention.crowd == Crowd::Alone);

    // Nothing ends: everything that was chosen stays occupied.
    for (visit, intention) in (0..).zip(lends.take(60)) {
        for operation in city.begin(&Intention { visit, ..intention }) {
            let (book, reader) = match operation.request {
                Request::Lend(lend) => (Some(lend.book), Some(lend.reader)),
                Request::Return(back) => (Some(back.book), Some(back.reader)),
                Request::Cancel(cancel) => (None, Some(cancel.reader)),
                Request::Remove(remove) => (Some(remove.book), None),
                _ => (None, None),
            };
            assert!(book.is_none_or(|book| books.insert(book)), "{intention:?}");
            assert!(reader.is_none_or(|reader| readers.insert(reader)), "{intention:?}");
        }
    }
}

#[test]
fn a_reader_with_an_unknown_outcome_is_forgotten() {
    let (city, _) = filled(CitySize { books: 300, readers: 100, loans: 100 });
    let before = city.size();
    let mut loans = intentions(100, 6).filter(|it| it.crowd == Crowd::OneCopy);

    for operation in city.begin(&loans.next().unwrap()) {
        city.end(operation, End::Unknown);
    }

    let after = city.size();
    assert_eq!(after.1, before.1 - 2);
    assert!(after.0 < before.0);
}

#[test]
fn the_same_choices_are_made_again() {
    let requests = || {
        let (city, _) = filled(CitySize { books: 300, readers: 100, loans: 100 });
        let begun = intentions(100, 7).take(50).flat_map(|intention| city.begin(&intention));
        begun
            .map(|operation| match operation.request {
                Request::Lend(lend) => format!("{} {}", lend.book, lend.reader),
                Request::Return(back) => format!("{} {}", back.book, back.reader),
                _ => String::new(),
            })
            .collect::<Vec<_>>()
    };

    assert_eq!(requests(), requests());
}

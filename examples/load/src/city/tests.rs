//! The choices of a city, tried on a library in memory.

use std::collections::{BTreeSet, HashMap};

use eddyline::SequenceNumber;
use library::commands::{Command, Decision, decide};
use library::domain::{BookId, DomainEvent, ReaderId};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::{City, CityBuilder, End, Operation, Request, Skew};
use crate::import::{CitySize, fill_without_store};
use crate::plan::{Act, Aim, Crowd, Intention, MixOptions, Visits};

/// A library without a store: the events, and which of them concern a copy or a reader.
#[derive(Default)]
struct Library {
    events: Vec<DomainEvent>,
    by_book: HashMap<BookId, Vec<usize>>,
    by_reader: HashMap<ReaderId, Vec<usize>>,
    /// The number of events before the load.
    imported: usize,
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
                let last = indexes.clone().last().copied().filter(|last| *last >= self.imported);
                assert!(last.is_none_or(|last| browse.position.value() > last as u64));
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
    Visits::new(MixOptions::usual().check().unwrap(), readers, seed)
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
    library.imported = library.events.len();
    (builder.build(SequenceNumber::ZERO), library)
}

/// Carries out intentions, at most `at_once` at the same time. Returns how commands ended, and how
/// many were not possible.
fn carry_out(size: CitySize, seed: u64, count: usize, at_once: usize) -> (Counts, u64) {
    let (city, mut library) = filled(size);
    let (mut counts, mut impossible) = (Counts::new(), 0);
    let (mut running, mut random) = (Vec::new(), SmallRng::seed_from_u64(seed));
    let mut end_one = |running: &mut Vec<(Intention, Operation)>| {
        let (intention, operation) = running.swap_remove(random.random_range(0..running.len()));
        end(&city, &mut library, &intention, operation, &mut counts);
        if running.iter().all(|(other, _)| other.visit != intention.visit) {
            city.leave(&intention);
        }
    };
    for intention in intentions(size.readers, seed).take(count) {
        let is_running = |(other, _): &(Intention, Operation)| other.visit == intention.visit;
        while running.len() >= at_once || running.iter().any(is_running) {
            end_one(&mut running);
        }
        let operations = city.begin(&intention);
        impossible += intention.crowd.operations() - operations.len() as u64;
        if operations.is_empty() {
            city.leave(&intention);
        }
        running.extend(operations.into_iter().map(|operation| (intention, operation)));
    }
    while !running.is_empty() {
        end_one(&mut running);
    }
    assert_knows(&city, &library);
    (counts, impossible)
}

/// Runs a command or query, and tells the city how it ended.
fn end(
    city: &City,
    library: &mut Library,
    of: &Intention,
    operation: Operation,
    counts: &mut Counts,
) {
    let end = library.serve(&operation);
    let got = match end {
        Some(End::Success { .. }) => Aim::Success,
        Some(End::Rejected { .. }) => Aim::Rejected,
        Some(_) => Aim::Idempotent,
        None => return city.end(operation, End::Answered),
    };
    if of.crowd != Crowd::OneCopy {
        *counts.entry((operation.aim, got)).or_default() += 1;
    }
    city.end(operation, end.expect("a command ends"));
}

/// Checks that the city knows who has which copy, and that nothing is occupied after all visits.
fn assert_knows(city: &City, library: &Library) {
    let mut holders = HashMap::new();
    let (mut removed, mut former) = (BTreeSet::new(), BTreeSet::new());
    for event in &library.events {
        match event {
            DomainEvent::BookCopyAddedToCirculation(added) => {
                removed.remove(&added.book);
                holders.insert(added.book, None);
            }
            DomainEvent::BookCopyLentToReader(lent) => {
                holders.insert(lent.book, Some(lent.reader));
            }
            DomainEvent::BookCopyRemovedFromCirculation(gone) => {
                removed.insert(gone.book);
                holders.remove(&gone.book);
            }
            DomainEvent::BookCopyReturnedByReader(back) => {
                holders.insert(back.book, None);
            }
            DomainEvent::ReaderContractCanceled(canceled) => {
                former.insert(canceled.reader);
            }
            DomainEvent::ReaderRegistered(registered) => {
                former.remove(&registered.reader);
            }
            _ => {}
        }
    }
    let mut state = city.state();
    let visits: Vec<u32> = state.visits.keys().copied().collect();
    visits.into_iter().for_each(|visit| state.leave(visit));
    for (slot, copy) in state.copies.iter() {
        let holder = copy.holder.map(|holder| state.readers.get(holder).unwrap().id);
        assert_eq!(holders[&copy.id], holder, "{slot}");
        assert!(!copy.is_busy, "{copy:?}");
    }
    for (slot, reader) in state.readers.iter() {
        assert!(!reader.is_busy, "{reader:?}");
        let is_held = |loan: &u32| state.copies.get(*loan).unwrap().holder == Some(slot);
        assert!(reader.loans.iter().all(is_held), "{reader:?}");
    }
    assert_eq!(state.removed.iter().copied().collect::<BTreeSet<_>>(), removed);
    assert_eq!(state.former.iter().map(|(id, _)| *id).collect::<BTreeSet<_>>(), former);
}

#[test]
fn commands_end_as_intended() {
    let size = CitySize { books: 3_000, readers: 700, loans: 700 };

    for at_once in [1, 20] {
        let (counts, impossible) = carry_out(size, 1, 20_000, at_once);

        let total: u64 = counts.values().sum();
        let ends = |aim, got| counts.get(&(aim, got)).copied().unwrap_or_default();
        // A copy that a reader has not, and had long ago, can be returned once more.
        let returned_again = ends(Aim::Rejected, Aim::Idempotent);
        assert!(returned_again * 1_000 < total, "{counts:?}");
        let as_intended: u64 =
            counts.keys().filter(|(aim, got)| aim == got).map(|both| counts[both]).sum();
        assert_eq!(as_intended + returned_again, total, "{counts:?}");
        assert!(impossible * 1_000 < total, "{impossible}");
        for aim in [Aim::Idempotent, Aim::Rejected, Aim::Success] {
            assert!(counts[&(aim, aim)] > 500, "{counts:?}");
        }
    }
}

#[test]
fn the_smallest_city_goes_on() {
    let size = CitySize { books: 100, readers: 100, loans: 50 };

    let (counts, impossible) = carry_out(size, 2, 20_000, 10);

    let total: u64 = counts.values().sum();
    assert!(counts[&(Aim::Success, Aim::Success)] * 10 > total * 8, "{counts:?}");
    assert!(impossible * 20 < total, "{impossible}");
}

#[test]
fn a_city_without_loans_begins_with_loans() {
    let size = CitySize { books: 500, readers: 200, loans: 0 };

    let (counts, _) = carry_out(size, 3, 5_000, 1);

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
fn a_pair_with_one_card_stays_below_the_limit_of_loans() {
    let (city, mut library) = filled(CitySize { books: 3_000, readers: 100, loans: 900 });
    let pairs = intentions(100, 8).filter(|intention| intention.crowd == Crowd::OneCard);

    for pair in pairs.take(20) {
        for operation in city.begin(&pair) {
            let end = library.serve(&operation).unwrap();

            assert!(matches!(end, End::Success { .. }), "{operation:?}: {end:?}");
            city.end(operation, end);
        }
    }
}

#[test]
fn a_city_has_as_many_loans_as_its_readers_may_have() {
    let (city, _) = filled(CitySize { books: 1_500, readers: 100, loans: 1_000 });

    let loans: Vec<_> = city.state().readers.iter().map(|(_, reader)| reader.loans.len()).collect();

    assert_eq!(loans, [10; 100]);
}

#[test]
fn a_failed_command_leaves_its_reader_and_copy_as_they_were() {
    let (city, library) = filled(CitySize { books: 300, readers: 100, loans: 100 });
    let before = city.size();

    for intention in intentions(100, 9).take(500) {
        city.begin(&intention).into_iter().for_each(|operation| city.end(operation, End::Failed));
        city.leave(&intention);
    }

    assert_eq!(city.size(), before);
    assert_knows(&city, &library);
}

#[test]
fn the_same_plan_gives_new_copies_other_ids_on_a_log_that_is_continued() {
    let add = |start| {
        let city = CityBuilder::new(skew()).build(SequenceNumber::new(start));
        let mut adds = intentions(100, 1).filter(|it| it.act == Act::Add);
        match &city.begin(&adds.next().unwrap())[..] {
            [Operation { request: Request::Add(add), .. }] => add.book,
            other => panic!("{other:?}"),
        }
    };

    assert_eq!(add(0), add(0));
    assert_ne!(add(0), add(1_000));
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

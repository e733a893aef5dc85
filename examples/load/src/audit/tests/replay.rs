//! Laws of the audit, for random commands on a log in memory.

use eddyline::{Event, SequencedEvent};
use library::queries::{
    BooksInCirculation, BooksLentByReader, BooksLentOut, CanceledReaders, FinishedLendings, Order,
    RegisteredReaders, RemovedBooks,
};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::audit::memory_library::{MemoryLibrary, reader};
use crate::replies::Canonical;

/// A step of a random load: a command or a query.
#[derive(Clone, Copy, Debug)]
enum Step {
    Add(u32),
    Cancel(u32),
    GiveBack(u32, u32),
    Lend(u32, u32),
    Query(u32, u32),
    Register(u32),
    Remove(u32),
}

/// A change of a log, or of the replies.
#[derive(Clone, Debug)]
enum Mutation {
    ChangeReason(Index),
    Drop(Index),
    Repeat(Index),
    Swap(Index, Index),
}

fn steps() -> impl Strategy<Value = Vec<(Step, u32)>> {
    let (books, readers) = (0..4_u32, 0..3_u32);
    let both = (books.clone(), readers.clone());
    let step = prop_oneof![
        2 => books.clone().prop_map(Step::Add),
        1 => books.prop_map(Step::Remove),
        2 => readers.clone().prop_map(Step::Register),
        1 => readers.prop_map(Step::Cancel),
        5 => both.clone().prop_map(|(book, reader)| Step::Lend(book, reader)),
        4 => both.prop_map(|(book, reader)| Step::GiveBack(book, reader)),
        4 => (0..8_u32, 0..3_u32).prop_map(|(number, reader)| Step::Query(number, reader)),
    ];
    prop::collection::vec((step, 0..4_u32), 1..60)
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        any::<Index>().prop_map(Mutation::ChangeReason),
        any::<Index>().prop_map(Mutation::Drop),
        any::<Index>().prop_map(Mutation::Repeat),
        any::<(Index, Index)>().prop_map(|(left, right)| Mutation::Swap(left, right)),
    ]
}

/// Carries out a step. Whether a command is rejected does not matter.
fn carry_out(library: &mut MemoryLibrary, (step, minute): (Step, u32)) {
    library.minute = minute;
    match step {
        Step::Add(book) => drop(library.add(book)),
        Step::Cancel(reader) => drop(library.cancel(reader)),
        Step::GiveBack(book, reader) => drop(library.give_back(book, reader)),
        Step::Lend(book, reader) => drop(library.lend(book, reader)),
        Step::Query(number, reader) => {
            answer_without(library, number, reader, 0);
        }
        Step::Register(reader) => drop(library.register(reader)),
        Step::Remove(book) => drop(library.remove(book)),
    }
}

/// Answers a query without the newest events, and keeps the answer. Returns whether it is wrong.
fn answer_without(library: &mut MemoryLibrary, number: u32, of: u32, newest: usize) -> bool {
    fn differs<Q>(library: &mut MemoryLibrary, query: &Q, newest: usize) -> bool
    where
        Q: Canonical,
        Q::Answer: PartialEq,
    {
        library.answer_without(query, newest) != library.answer(query)
    }

    let (max, order) = (number as usize, Order::NewestFirst);
    match number {
        0 => differs(library, &BooksInCirculation, newest),
        1 => differs(library, &BooksLentByReader { reader: reader(of) }, newest),
        2 => differs(library, &BooksLentOut, newest),
        3 => differs(library, &CanceledReaders, newest),
        4 => differs(library, &FinishedLendings { max, order }, newest),
        5 => differs(library, &FinishedLendings { max, order: Order::OldestFirst }, newest),
        6 => differs(library, &RegisteredReaders, newest),
        _ => differs(library, &RemovedBooks, newest),
    }
}

fn after(steps: Vec<(Step, u32)>) -> MemoryLibrary {
    let mut library = MemoryLibrary::open();
    steps.into_iter().for_each(|step| carry_out(&mut library, step));
    library
}

/// Puts another event at the position of an event.
fn replace(log: &mut [SequencedEvent], index: usize, event: Event) {
    let former = &log[index];
    log[index] = SequencedEvent::new(event, former.sequence_number(), former.recorded_at());
}

/// Changes a log. Returns whether there was something to change.
fn mutate(library: &mut MemoryLibrary, mutation: &Mutation) -> bool {
    let events = library.log.len();
    if events == 0 {
        return false;
    }
    match mutation {
        Mutation::ChangeReason(index) => {
            let failures = library.log.iter().enumerate();
            let failures = failures.filter(|(_, event)| event.event_type().ends_with("Failed"));
            let failures: Vec<_> = failures.map(|(index, _)| index).collect();
            if failures.is_empty() {
                return false;
            }
            let index = failures[index.index(failures.len())];
            let event = library.log[index].event();
            let payload = event.payload_json().replace("FailureInfo\":\"", "FailureInfo\":\"A ");
            let changed = Event::from_json(event.event_type(), payload).unwrap();
            let metadata: serde_json::Value = event.metadata().unwrap();
            let changed = changed.with_metadata(&metadata).unwrap();
            let changed = changed.with_id(event.id()).unwrap();
            replace(&mut library.log, index, changed);
        }
        Mutation::Drop(index) => drop(library.log.remove(index.index(events))),
        Mutation::Repeat(index) => {
            library.append(library.log[index.index(events)].event().clone());
        }
        Mutation::Swap(left, right) => {
            let (left, right) = (left.index(events), right.index(events));
            let [first, second] = [left, right].map(|index| library.log[index].event().clone());
            replace(&mut library.log, left, second);
            replace(&mut library.log, right, first);
            return left != right;
        }
    }
    true
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A log of right decisions, with right answers, has no findings.
    #[test]
    fn finds_nothing_in_a_right_log(steps in steps()) {
        let library = after(steps);

        let inspected = library.inspect();

        prop_assert!(inspected.findings.is_empty(), "{:?}", inspected.findings);
        prop_assert!(inspected.found_before.is_empty(), "{:?}", inspected.found_before);
    }

    /// A single change of the log has findings.
    #[test]
    fn finds_a_changed_log(steps in steps(), mutation in mutation()) {
        let mut library = after(steps);
        prop_assume!(mutate(&mut library, &mutation));

        prop_assert!(!library.findings().is_empty());
    }

    /// A decision without the newest events of its history has findings if another decision would
    /// have been right, also after further right decisions.
    #[test]
    fn finds_a_stale_decision(
        before in steps(), step in steps(), unseen in 1_usize..5, later in steps(),
    ) {
        let step = step[0];
        prop_assume!(!matches!(step.0, Step::Query(..)));
        let mut right = after(before.clone());
        carry_out(&mut right, step);
        let mut library = after(before);
        library.unseen = unseen;
        carry_out(&mut library, step);
        library.unseen = 0;
        let is_wrong = contents(&right) != contents(&library);
        later.into_iter().for_each(|step| carry_out(&mut library, step));

        prop_assert_eq!(library.findings().is_empty(), !is_wrong);
    }

    /// An answer from an older position has a finding if it differs from the right one, also if
    /// many right answers follow.
    #[test]
    fn finds_an_old_answer(
        before in steps(),
        number in 0..8_u32,
        of in 0..3_u32,
        newest in 1_usize..6,
        later in steps(),
    ) {
        let mut library = after(before);
        let is_wrong = answer_without(&mut library, number, of, newest);
        later.into_iter().for_each(|step| carry_out(&mut library, step));

        prop_assert_eq!(library.findings().is_empty(), !is_wrong);
    }
}

/// Returns the types and payloads of a log.
fn contents(library: &MemoryLibrary) -> Vec<(&str, &str)> {
    library.log.iter().map(|event| (event.event_type(), event.payload_json())).collect()
}

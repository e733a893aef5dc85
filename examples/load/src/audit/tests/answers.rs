use eddyline::SequenceNumber;
use library::queries::{
    Answer, BooksInCirculation, BooksLentByReader, BooksLentOut, CanceledReaders, FinishedLendings,
    Order, RegisteredReaders, RemovedBooks,
};

use super::assert_finds;
use crate::audit::memory_library::{MemoryLibrary, at, reader};
use crate::replies::Canonical;

const NEWEST: FinishedLendings = FinishedLendings { max: 2, order: Order::NewestFirst };
const ALL: FinishedLendings = FinishedLendings { max: usize::MAX, order: Order::OldestFirst };

/// Returns a library for which no query has an empty answer. Some times are equal, and some events
/// are older than those before them.
fn with_everything() -> MemoryLibrary {
    let mut library = MemoryLibrary::open();
    library.minute = 5;
    for number in 1..=5 {
        library.add(number).unwrap();
        library.register(number).unwrap();
    }
    library.minute = 9;
    (1..=4).for_each(|book| library.lend(book, 1).unwrap());
    library.minute = 8;
    library.lend(5, 1).unwrap();
    library.minute = 12;
    library.give_back(1, 1).unwrap();
    library.give_back(2, 1).unwrap();
    library.minute = 11;
    library.give_back(3, 1).unwrap();
    library.remove(1).unwrap();
    library.remove(2).unwrap();
    library.cancel(4).unwrap();
    library.cancel(5).unwrap();
    library
}

fn ask_everything(library: &mut MemoryLibrary) {
    library.answer(&BooksInCirculation);
    library.answer(&BooksLentByReader { reader: reader(1) });
    library.answer(&BooksLentByReader { reader: reader(2) });
    library.answer(&BooksLentOut);
    library.answer(&CanceledReaders);
    library.answer(&NEWEST);
    library.answer(&ALL);
    library.answer(&RegisteredReaders);
    library.answer(&RemovedBooks);
}

/// Checks that an answer is found to be wrong after a change of it.
#[track_caller]
fn assert_finds_changed<Q: Canonical>(query: &Q, change: impl FnOnce(&mut Q::Answer)) {
    let mut library = with_everything();
    let mut answer = library.answer(query);
    change(&mut answer);
    library.keep(query, answer);

    assert_finds(&library, &format!("{} was answered by replica-0 at position", query.question()));
}

#[test]
fn finds_nothing_if_all_answers_are_right() {
    let mut library = with_everything();
    ask_everything(&mut library);
    library.give_back(4, 1).unwrap();
    library.add(1).unwrap();
    library.register(5).unwrap();
    ask_everything(&mut library);

    let inspected = library.inspect();

    assert!(inspected.findings.is_empty(), "{inspected:?}");
    assert_eq!(inspected.checked.answers, 18);
}

#[test]
fn finds_changed_data() {
    assert_finds_changed(&BooksInCirculation, |answer| answer.books[1].data.title.push('!'));
    assert_finds_changed(&BooksInCirculation, |answer| answer.books[0].is_currently_lent = true);
    assert_finds_changed(&BooksLentOut, |answer| answer[0].reader = reader(2));
    assert_finds_changed(&RegisteredReaders, |answer| answer[2].name = "Ada".to_owned());
    assert_finds_changed(&CanceledReaders, |answer| answer[1].canceled_at = at(10));
}

#[test]
fn finds_another_order() {
    assert_finds_changed(&BooksInCirculation, |answer| answer.books.swap(0, 1));
    assert_finds_changed(&BooksLentOut, |answer| answer.swap(0, 1));
    assert_finds_changed(&CanceledReaders, |answer| answer.swap(0, 1));
    assert_finds_changed(&NEWEST, |answer| answer.lendings.swap(0, 1));
    assert_finds_changed(&RegisteredReaders, |answer| answer.swap(0, 1));
    assert_finds_changed(&RemovedBooks, |answer| answer.swap(0, 1));
}

#[test]
fn finds_missing_and_additional_rows() {
    assert_finds_changed(&BooksLentByReader { reader: reader(1) }, |answer| answer.truncate(1));
    assert_finds_changed(&RemovedBooks, |answer| answer.push(answer[0]));
    assert_finds_changed(&CanceledReaders, Vec::clear);
}

#[test]
fn finds_wrong_numbers_of_rows() {
    assert_finds_changed(&BooksInCirculation, |answer| answer.count += 1);
    assert_finds_changed(&NEWEST, |answer| answer.total -= 1);
    assert_finds_changed(&NEWEST, |answer| answer.count += 1);
}

#[test]
fn names_the_row_and_the_event_that_differ() {
    let mut library = with_everything();
    let mut answer = library.answer(&RegisteredReaders);
    answer[1].name = "Ada".to_owned();
    library.keep(&RegisteredReaders, answer);

    let (id, position) = (reader(2), library.log[3].sequence_number());
    let text = format!(
        "; row 2: reader {id} \"Ada\" registered 2026-03-01T08:05:00.000000Z; the log has the row \
         of event {position}"
    );
    assert_finds(&library, &text);
}

#[test]
fn finds_every_old_answer_however_many_follow() {
    let mut library = with_everything();
    library.answer_without(&BooksInCirculation, 4);
    library.answer_without(&BooksLentByReader { reader: reader(1) }, 7);
    library.answer_without(&ALL, 5);
    for _ in 0..300 {
        ask_everything(&mut library);
    }

    let found = library.findings();

    assert_eq!(found.len(), 3, "{found:?}");
    assert!(
        found.iter().all(|finding| finding.contains("; its newest rows are of the events ")),
        "{found:?}"
    );
}

#[test]
fn finds_an_answer_before_the_required_position() {
    let library = MemoryLibrary::open();
    let (position, served_by) = (SequenceNumber::ZERO, "replica-1".to_owned());
    let answer = Answer { value: Vec::new(), position, served_by, attempts: 1 };
    library.replies.answer(&BooksLentOut, SequenceNumber::new(7), &answer);

    assert_finds(&library, "was required at position 7, and replica-1 answered at position 0");
}

#[test]
fn finds_replies_after_the_end_of_the_log() {
    let mut library = with_everything();
    library.answer(&RemovedBooks);
    library.add(5).unwrap();
    library.log.pop();

    let found = library.findings();

    for text in ["AddBookCopy had nothing to change at", "RemovedBooks was answered by replica-0"] {
        let about = found.iter().find(|finding| finding.starts_with(text)).unwrap();
        assert!(about.contains("and the log ends at"), "{found:?}");
    }
}

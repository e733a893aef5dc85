use library::domain::{
    BookCopyAddedToCirculation, BookCopyLentToReader, BookCopyRemovedFromCirculation,
    BookCopyReturnedByReader, ReaderContractCanceled, ReaderRegistered,
};

use super::assert_finds;
use crate::audit::memory_library::{MemoryLibrary, at, book, data, reader};

/// Returns a library with a book that is lent to reader 1, and with reader 2.
fn with_a_loan() -> MemoryLibrary {
    let mut library = MemoryLibrary::open();
    library.add(1).unwrap();
    library.register(1).unwrap();
    library.register(2).unwrap();
    library.lend(1, 1).unwrap();
    library
}

fn lent(book_number: u32, reader_number: u32) -> BookCopyLentToReader {
    let (book, reader) = (book(book_number), reader(reader_number));
    BookCopyLentToReader { book, reader, occurred_at: at(9) }
}

/// Checks what is found if an event was in the log before the load.
#[track_caller]
fn assert_found_before(mut library: MemoryLibrary, text: &str) {
    library.begin_load();

    let inspected = library.inspect();

    let found = &inspected.found_before.first;
    assert!(inspected.findings.is_empty(), "{inspected:?}");
    assert!(found.len() == 1 && found[0].contains(text), "{found:?}");
}

#[test]
fn finds_nothing_if_the_log_keeps_the_rules() {
    let mut library = with_a_loan();
    library.lend(1, 2).unwrap_err();
    library.remove(1).unwrap_err();
    library.cancel(1).unwrap_err();
    library.give_back(1, 2).unwrap_err();
    library.give_back(1, 1).unwrap();
    library.give_back(1, 1).unwrap();
    library.remove(1).unwrap();
    library.lend(1, 1).unwrap_err();
    library.cancel(1).unwrap();
    library.add(1).unwrap();
    library.register(1).unwrap();

    assert_eq!(library.findings(), [""; 0]);
}

#[test]
fn finds_a_book_lent_twice_and_names_the_event() {
    let mut library = with_a_loan();
    library.append_unchecked(lent(1, 2));
    let event = library.log.last().unwrap();

    let (position, id) = (event.sequence_number(), event.id());
    let text = format!(
        "event {position}, BookCopyLentToReader {id}: LendBookCopyToReader was accepted, but the \
         rules refuse it: book is already lent (book {}, reader {})",
        book(1),
        reader(2),
    );
    assert_found_before(library, &text);
}

#[test]
fn finds_a_loan_that_is_stored_again() {
    let mut library = with_a_loan();
    library.append_unchecked(lent(1, 1));

    assert_found_before(library, "there is nothing to change");
}

#[test]
fn finds_an_eleventh_loan() {
    let mut library = MemoryLibrary::open();
    library.register(1).unwrap();
    for number in 1..=11 {
        library.add(number).unwrap();
        library.append_unchecked(lent(number, 1));
    }

    assert_found_before(library, "reader has too many books");
}

#[test]
fn finds_a_loan_to_a_reader_who_is_not_registered() {
    let mut never = MemoryLibrary::open();
    never.add(1).unwrap();
    let mut canceled = MemoryLibrary::open();
    canceled.add(1).unwrap();
    canceled.register(1).unwrap();
    canceled.cancel(1).unwrap();

    for mut library in [never, canceled] {
        library.append_unchecked(lent(1, 1));

        assert_found_before(library, "reader is not currently registered");
    }
}

#[test]
fn finds_a_loan_of_a_book_that_is_not_in_circulation() {
    let mut never = MemoryLibrary::open();
    never.register(1).unwrap();
    let mut removed = MemoryLibrary::open();
    removed.register(1).unwrap();
    removed.add(1).unwrap();
    removed.remove(1).unwrap();

    for mut library in [never, removed] {
        library.append_unchecked(lent(1, 1));

        assert_found_before(library, "book is not in circulation");
    }
}

#[test]
fn finds_a_return_by_another_reader() {
    let mut library = with_a_loan();
    let (book, reader, occurred_at) = (book(1), reader(2), at(9));
    library.append_unchecked(BookCopyReturnedByReader { book, reader, occurred_at });

    assert_found_before(library, "book is not lent to this reader");
}

#[test]
fn finds_a_removal_during_a_loan() {
    let mut library = with_a_loan();
    let (book, occurred_at) = (book(1), at(9));
    library.append_unchecked(BookCopyRemovedFromCirculation { book, occurred_at });

    assert_found_before(library, "book is currently lent");
}

#[test]
fn finds_a_cancellation_during_a_loan() {
    let mut library = with_a_loan();
    let (reader, occurred_at) = (reader(1), at(9));
    library.append_unchecked(ReaderContractCanceled { reader, occurred_at });

    assert_found_before(library, "reader has outstanding book loans");
}

#[test]
fn finds_repeated_changes() {
    let mut added = with_a_loan();
    let (book, data, occurred_at) = (book(1), data(1), at(9));
    added.append_unchecked(BookCopyAddedToCirculation { book, data, occurred_at });
    let mut registered = with_a_loan();
    let (reader, name) = (reader(1), "Ada Lovelace".to_owned());
    registered.append_unchecked(ReaderRegistered { reader, name, occurred_at });

    for library in [added, registered] {
        assert_found_before(library, "there is nothing to change");
    }
}

#[test]
fn finds_a_stale_rejection() {
    let mut library = with_a_loan();
    library.give_back(1, 1).unwrap();
    library.unseen = 1;
    library.lend(1, 2).unwrap_err();

    assert_finds(&library, "was rejected for \"book is already lent\", but the rules allow it");
}

#[test]
fn finds_a_rejection_for_the_wrong_reason() {
    let mut library = with_a_loan();
    library.cancel(2).unwrap();
    library.unseen = 1;
    library.lend(1, 2).unwrap_err();

    assert_finds(&library, "the rules refuse it: reader is not currently registered");
}

#[test]
fn finds_a_stale_idempotent_reply() {
    let mut library = with_a_loan();
    library.give_back(1, 1).unwrap();
    library.unseen = 1;
    library.lend(1, 1).unwrap();

    assert_finds(&library, "LendBookCopyToReader had nothing to change at position");
}

use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;

use eddyline::{Error, SequenceNumber, SequencedEvent};
use library::commands::{CommandError, Effort, Outcome, Reason, Receipt};
use library::domain::{BookId, ReaderRegistered};
use uuid::Uuid;

use super::{assert_finds, assert_finds_among_others};
use crate::audit::memory_library::{MemoryLibrary, at, book, reader};
use crate::replies::{Replies, Subject};

/// Returns a library with two books, whose events are at positions 1 and 3.
fn with_two_books() -> MemoryLibrary {
    let mut library = MemoryLibrary::open();
    library.add(1).unwrap();
    library.add(2).unwrap();
    library
}

fn added(book: BookId) -> Subject {
    Subject { command: "AddBookCopy", book: Some(book), reader: None }
}

fn success(event_id: Uuid, position: u64) -> Outcome {
    let position = SequenceNumber::new(position);
    Outcome::Success(Receipt { event_id, position, effort: Effort::default() })
}

fn positions(first: u64, last: u64) -> RangeInclusive<SequenceNumber> {
    SequenceNumber::new(first)..=SequenceNumber::new(last)
}

#[test]
fn finds_nothing_if_log_and_replies_agree() {
    let library = with_two_books();

    let inspected = library.inspect();

    assert!(inspected.findings.is_empty() && inspected.found_before.is_empty(), "{inspected:?}");
    assert_eq!(inspected.checked.stored, 2);
}

#[test]
fn finds_an_event_that_was_lost() {
    let mut library = with_two_books();
    let lost = library.log.remove(0);

    let text = format!("event 1, BookCopyAddedToCirculation {}: was acknowledged", lost.id());
    assert_finds_among_others(&library, &text);
}

#[test]
fn finds_an_event_that_was_acknowledged_at_the_position_of_another_one() {
    let library = with_two_books();
    let lost = Uuid::from_u128(9);
    library.replies.command(added(book(3)), &Ok(success(lost, 3)));

    assert_finds_among_others(&library, &format!("{lost}: was acknowledged, and is not there"));
}

#[test]
fn finds_an_event_at_another_position() {
    let mut library = with_two_books();
    let [first, second] = [0, 1].map(|index| library.log[index].id());
    library.forget_replies();
    library.replies.command(added(book(1)), &Ok(success(first, 1)));
    library.replies.command(added(book(2)), &Ok(success(second, 2)));

    let found = library.findings();

    let lost = format!("event 2, BookCopyAddedToCirculation {second}: was acknowledged");
    let other = format!("event 3, BookCopyAddedToCirculation {second}: no client was told");
    assert!(found[0].starts_with(&lost) && found[1].starts_with(&other), "{found:?}");
}

#[test]
fn finds_an_event_that_was_not_acknowledged() {
    let mut library = with_two_books();
    let (reader, name, occurred_at) = (reader(1), "Ada Lovelace".to_owned(), at(1));
    library.append_unchecked(ReaderRegistered { reader, name, occurred_at });

    assert_finds(&library, "no client was told that it is stored");
}

#[test]
fn finds_an_event_that_is_stored_twice() {
    let mut library = with_two_books();
    library.append(library.log[0].event().clone());

    assert_finds_among_others(&library, "no client was told that it is stored");
}

#[test]
fn finds_an_event_that_was_acknowledged_twice() {
    let library = with_two_books();
    library.replies.command(added(book(1)), &Ok(success(library.log[0].id(), 1)));

    assert_finds_among_others(&library, "was acknowledged, and is not there");
}

#[test]
fn finds_events_out_of_order() {
    let mut library = with_two_books();
    library.log.swap(0, 1);

    assert_finds_among_others(&library, "comes after event 3");
}

#[test]
fn finds_an_event_about_another_book() {
    let mut library = MemoryLibrary::open();
    library.add(1).unwrap();
    let id = library.log[0].id();
    library.forget_replies();
    library.replies.command(added(book(2)), &Ok(success(id, 1)));

    assert_finds(&library, "AddBookCopy was about another book or reader");
}

#[test]
fn finds_a_reply_with_another_reason() {
    let mut library = MemoryLibrary::open();
    library.register(1).unwrap();
    library.begin_load();
    let Err(CommandError::Rejected { event_type, receipt, .. }) = library.lend(1, 1) else {
        panic!("the book is not in circulation")
    };
    library.replies = Replies::after(receipt.position.previous());
    let subject =
        Subject { command: "LendBookCopyToReader", book: Some(book(1)), reader: Some(reader(1)) };
    let reason = Reason::BookAlreadyLent;
    let reply = Err(CommandError::Rejected { event_type, reason, receipt });
    library.replies.command(subject, &reply);

    assert_finds(&library, "was rejected for \"book is already lent\"");
}

#[test]
fn finds_a_success_that_is_stored_as_a_rejection() {
    let mut library = MemoryLibrary::open();
    library.remove(1).unwrap_err();
    library.forget_replies();
    let (id, position) = (library.log[0].id(), library.head().value());
    let subject = Subject { command: "RemoveBookCopy", book: Some(book(1)), reader: None };
    library.replies.command(subject, &Ok(success(id, position)));

    let found = library.findings();

    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].contains("the client was told that RemoveBookCopy was accepted"), "{found:?}");
    assert!(found[1].contains("told 1 times that it was accepted, the log has 0"), "{found:?}");
    assert!(found[2].contains("told 0 times that it was rejected, the log has 1"), "{found:?}");
}

/// Returns the reply to a command if it is unknown whether its event was stored.
fn unknown(event: Uuid) -> Result<Outcome, CommandError> {
    let source = Arc::new(io::Error::other("connection reset"));
    let (server, event_ids) = ("primary 127.0.0.1:5432".to_owned(), vec![event]);
    Err(CommandError::Store(Error::OutcomeUnknown { server, event_ids, source }))
}

#[test]
fn accepts_an_unknown_outcome_with_and_without_its_event() {
    let mut library = MemoryLibrary::open();
    library.add(1).unwrap();
    library.forget_replies();
    library.replies.command(added(book(1)), &unknown(library.log[0].id()));
    library.replies.command(added(book(2)), &unknown(Uuid::from_u128(9)));

    assert_eq!(library.findings(), [""; 0]);
}

#[test]
fn finds_the_event_of_an_unknown_outcome_that_is_stored_twice() {
    let mut library = MemoryLibrary::open();
    library.add(1).unwrap();
    library.forget_replies();
    library.replies.command(added(book(1)), &unknown(library.log[0].id()));
    library.append(library.log[0].event().clone());

    assert_finds_among_others(&library, "no client was told that it is stored");
}

#[test]
fn accepts_imported_events_in_their_range() {
    let mut library = with_two_books();
    let ids: Vec<_> = library.log.iter().rev().map(|event| event.id()).collect();
    library.forget_replies();
    library.replies.imported(ids[..1].iter().copied(), positions(3, 3));
    library.replies.imported(ids[1..].iter().copied(), positions(1, 1));

    let inspected = library.inspect();

    assert!(inspected.findings.is_empty(), "{inspected:?}");
    assert_eq!(inspected.checked.imported, 2);
}

#[test]
fn finds_an_imported_event_that_is_missing() {
    let mut library = with_two_books();
    let lost = Uuid::from_u128(9);
    let ids = library.log.iter().map(SequencedEvent::id).chain([lost]).collect::<Vec<_>>();
    library.forget_replies();
    library.replies.imported(ids, positions(1, 3));

    assert_finds(&library, &format!("event {lost} was imported between positions 1 and 3"));
}

#[test]
fn finds_an_imported_event_outside_of_its_range() {
    let mut library = with_two_books();
    let ids = library.log.iter().map(SequencedEvent::id).collect::<Vec<_>>();
    library.forget_replies();
    library.replies.imported(ids, positions(1, 2));

    assert_finds_among_others(&library, "no client was told that it is stored");
}

#[test]
fn finds_an_event_that_was_imported_twice() {
    let mut library = MemoryLibrary::open();
    library.add(1).unwrap();
    let id = library.log[0].id();
    library.forget_replies();
    library.replies.imported([id, id], positions(1, 1));

    assert_finds_among_others(&library, "was imported twice");
}

#[test]
fn includes_the_findings_of_the_load() {
    let library = with_two_books();
    library.replies.finding("a replica forgot a loan".to_owned());

    assert_finds(&library, "a replica forgot a loan");
}

#[test]
fn ignores_the_events_before_the_load() {
    let mut library = with_two_books();
    library.begin_load();

    assert_eq!(library.findings(), [""; 0]);
}

//! Events for unit tests. Ids are small numbers, times are minutes of one day.

use eddyline::SequenceNumber;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::domain::{
    BookCopyAddedToCirculation, BookCopyLentToReader, BookCopyRemovedFromCirculation,
    BookCopyReturnedByReader, BookData, BookId, DomainEvent, OccurredAt, ReaderContractCanceled,
    ReaderId, ReaderRegistered,
};
use crate::queries::SequencedDomainEvent;

pub(crate) const NAME: &str = "Ada Lovelace";

pub(crate) fn book(number: u32) -> BookId {
    Uuid::from_u128(number.into()).into()
}

pub(crate) fn reader(number: u32) -> ReaderId {
    Uuid::from_u128(number.into()).into()
}

pub(crate) fn at(minute: u32) -> OccurredAt {
    let morning: Timestamp = "2026-03-01T08:00:00Z".parse().unwrap();
    (morning + SignedDuration::from_mins(minute.into())).into()
}

pub(crate) fn data() -> BookData {
    BookData {
        isbn: "978-0-14-043910-8".to_owned(),
        title: "Middlemarch".to_owned(),
        authors: "George Eliot".to_owned(),
        edition: "2nd".to_owned(),
        publisher: "Penguin".to_owned(),
        publication_year: 1994,
    }
}

pub(crate) fn added(book: BookId, minute: u32) -> DomainEvent {
    let (data, occurred_at) = (data(), at(minute));
    BookCopyAddedToCirculation { book, data, occurred_at }.into()
}

pub(crate) fn removed(book: BookId, minute: u32) -> DomainEvent {
    let occurred_at = at(minute);
    BookCopyRemovedFromCirculation { book, occurred_at }.into()
}

pub(crate) fn registered(reader: ReaderId, minute: u32) -> DomainEvent {
    let (name, occurred_at) = (NAME.to_owned(), at(minute));
    ReaderRegistered { reader, name, occurred_at }.into()
}

pub(crate) fn canceled(reader: ReaderId, minute: u32) -> DomainEvent {
    let occurred_at = at(minute);
    ReaderContractCanceled { reader, occurred_at }.into()
}

pub(crate) fn lent(book: BookId, reader: ReaderId, minute: u32) -> DomainEvent {
    let occurred_at = at(minute);
    BookCopyLentToReader { book, reader, occurred_at }.into()
}

pub(crate) fn returned(book: BookId, reader: ReaderId, minute: u32) -> DomainEvent {
    let occurred_at = at(minute);
    BookCopyReturnedByReader { book, reader, occurred_at }.into()
}

/// Returns the events with ascending positions, as read from a log.
pub(crate) fn log(events: impl IntoIterator<Item = DomainEvent>) -> Vec<SequencedDomainEvent> {
    (1..)
        .zip(events)
        .map(|(number, event)| SequencedDomainEvent {
            event,
            sequence_number: SequenceNumber::new(number),
        })
        .collect()
}

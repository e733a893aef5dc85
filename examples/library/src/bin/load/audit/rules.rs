use std::collections::{HashMap, HashSet};

use eddyline::SequencedEvent;
use serde::Deserialize;
use uuid::Uuid;

use super::findings::Findings;

/// Holds what a library's log must keep to, whoever appended to it.
///
/// It shares nothing with the commands' rules, not even their types: what they get wrong, it would
/// otherwise take for right.
#[derive(Default)]
pub(crate) struct Rules {
    circulating: HashSet<Uuid>,
    registered: HashSet<Uuid>,
    borrowers: HashMap<Uuid, Uuid>,
    loans: HashMap<Uuid, u32>,
}

#[derive(Deserialize)]
struct Ids {
    #[serde(rename = "BookID", default)]
    book: Uuid,
    #[serde(rename = "ReaderID", default)]
    reader: Uuid,
}

impl Rules {
    /// Takes an event up, and finds what it breaks.
    pub(crate) fn apply(&mut self, event: &SequencedEvent, findings: &mut Findings) {
        let mut find = |finding: String| {
            let (at, event_type) = (event.sequence_number(), event.event_type());
            findings.add(format!("event {at}, {event_type}: {finding}"));
        };
        let Ids { book, reader } = match event.payload() {
            Ok(ids) => ids,
            Err(error) => return find(error.to_string()),
        };
        match event.event_type() {
            "BookCopyAddedToCirculation" => self.add(book, find),
            "BookCopyRemovedFromCirculation" => self.remove(book, find),
            "BookCopyLentToReader" => self.lend(book, reader, find),
            "BookCopyReturnedByReader" => self.give_back(book, reader, find),
            "ReaderRegistered" => self.register(reader, find),
            "ReaderContractCanceled" => self.cancel(reader, find),
            failure if FAILURES.contains(&failure) => {}
            _ => find("the library has no such event type".to_owned()),
        }
    }

    fn add(&mut self, book: Uuid, mut find: impl FnMut(String)) {
        if !self.circulating.insert(book) {
            find(format!("book {book} is in circulation already"));
        }
    }

    fn remove(&mut self, book: Uuid, mut find: impl FnMut(String)) {
        if !self.circulating.remove(&book) {
            find(format!("book {book} is not in circulation"));
        }
        if self.borrowers.contains_key(&book) {
            find(format!("book {book} is lent"));
        }
    }

    fn lend(&mut self, book: Uuid, reader: Uuid, mut find: impl FnMut(String)) {
        if self.borrowers.insert(book, reader).is_some() {
            find(format!("book {book} is lent already"));
        }
        let loans = self.loans.entry(reader).or_default();
        *loans += 1;
        if *loans > MOST_LOANS {
            find(format!("reader {reader} has {loans} books"));
        }
        if !self.registered.contains(&reader) {
            find(format!("reader {reader} is not registered"));
        }
        if !self.circulating.contains(&book) {
            find(format!("book {book} is not in circulation"));
        }
    }

    fn give_back(&mut self, book: Uuid, reader: Uuid, mut find: impl FnMut(String)) {
        if self.borrowers.remove(&book) != Some(reader) {
            return find(format!("book {book} is not lent to reader {reader}"));
        }
        if let Some(loans) = self.loans.get_mut(&reader) {
            *loans = loans.saturating_sub(1);
        }
    }

    fn register(&mut self, reader: Uuid, mut find: impl FnMut(String)) {
        if !self.registered.insert(reader) {
            find(format!("reader {reader} is registered already"));
        }
    }

    fn cancel(&mut self, reader: Uuid, mut find: impl FnMut(String)) {
        if !self.registered.remove(&reader) {
            find(format!("reader {reader} is not registered"));
        }
        match self.loans.get(&reader) {
            None | Some(0) => {}
            Some(loans) => find(format!("reader {reader} has {loans} books")),
        }
    }
}

const MOST_LOANS: u32 = 10;
const FAILURES: [&str; 4] = [
    "CancelingReaderContractFailed",
    "LendingBookToReaderFailed",
    "RemovingBookFromCirculationFailed",
    "ReturningBookFromReaderFailed",
];

#[cfg(test)]
mod tests {
    use eddyline::{Event, SequenceNumber};
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;

    const ADDED: &str = "BookCopyAddedToCirculation";
    const REMOVED: &str = "BookCopyRemovedFromCirculation";
    const LENT: &str = "BookCopyLentToReader";
    const RETURNED: &str = "BookCopyReturnedByReader";
    const REGISTERED: &str = "ReaderRegistered";
    const CANCELED: &str = "ReaderContractCanceled";

    /// Returns what is found in a log of these types, books and readers.
    fn findings(log: &[(&str, u128, u128)]) -> Vec<String> {
        let (mut rules, mut findings) = (Rules::default(), Findings::default());
        for (number, (event_type, book, reader)) in (1..).zip(log) {
            let ids =
                json!({ "BookID": Uuid::from_u128(*book), "ReaderID": Uuid::from_u128(*reader) });
            let event = Event::new(*event_type, &ids).unwrap();
            let number = SequenceNumber::new(number);
            rules.apply(&SequencedEvent::new(event, number, Timestamp::UNIX_EPOCH), &mut findings);
        }
        let text = findings.to_string();
        text.lines().map(str::to_owned).collect()
    }

    #[track_caller]
    fn assert_finds(log: &[(&str, u128, u128)], text: &str) {
        let found = findings(log);

        assert!(found.len() == 1 && found[0].contains(text), "{found:?}");
    }

    #[test]
    fn finds_nothing_in_a_log_that_keeps_the_rules() {
        let log = [
            (ADDED, 1, 0),
            (REGISTERED, 0, 1),
            (LENT, 1, 1),
            ("LendingBookToReaderFailed", 1, 2),
            (RETURNED, 1, 1),
            (LENT, 1, 1),
            (RETURNED, 1, 1),
            (REMOVED, 1, 0),
            (CANCELED, 0, 1),
            (ADDED, 1, 0),
            (REGISTERED, 0, 1),
        ];

        assert_eq!(findings(&log), [""; 0]);
    }

    #[test]
    fn finds_a_book_lent_twice() {
        let ready = [(ADDED, 1, 0), (REGISTERED, 0, 1), (REGISTERED, 0, 2)];
        let log = [&ready[..], &[(LENT, 1, 1), (LENT, 1, 2)]].concat();

        assert_finds(&log, "is lent already");
    }

    #[test]
    fn finds_an_eleventh_loan() {
        let mut log = vec![(REGISTERED, 0, 1)];
        log.extend((1..=11).flat_map(|book| [(ADDED, book, 0), (LENT, book, 1)]));

        assert_finds(&log, "has 11 books");
    }

    #[test]
    fn finds_a_loan_to_whoever_is_not_registered() {
        let canceled = [(ADDED, 1, 0), (REGISTERED, 0, 1), (CANCELED, 0, 1), (LENT, 1, 1)];

        assert_finds(&[(ADDED, 1, 0), (LENT, 1, 1)], "is not registered");
        assert_finds(&canceled, "is not registered");
    }

    #[test]
    fn finds_a_loan_of_a_book_that_is_not_there() {
        let removed = [(REGISTERED, 0, 1), (ADDED, 1, 0), (REMOVED, 1, 0), (LENT, 1, 1)];

        assert_finds(&[(REGISTERED, 0, 1), (LENT, 1, 1)], "is not in circulation");
        assert_finds(&removed, "is not in circulation");
    }

    #[test]
    fn finds_a_return_of_what_is_not_lent_to_the_reader() {
        let lent = [(ADDED, 1, 0), (REGISTERED, 0, 1), (LENT, 1, 1), (RETURNED, 1, 2)];

        assert_finds(&[(RETURNED, 1, 1)], "is not lent to reader");
        assert_finds(&lent, "is not lent to reader");
    }

    #[test]
    fn finds_a_removal_or_cancellation_amid_a_loan() {
        let lent = [(ADDED, 1, 0), (REGISTERED, 0, 1), (LENT, 1, 1)];

        assert_finds(&[&lent[..], &[(REMOVED, 1, 0)]].concat(), "is lent");
        assert_finds(&[&lent[..], &[(CANCELED, 0, 1)]].concat(), "has 1 books");
    }

    #[test]
    fn finds_what_was_done_twice() {
        assert_finds(&[(ADDED, 1, 0), (ADDED, 1, 0)], "is in circulation already");
        assert_finds(&[(REGISTERED, 0, 1), (REGISTERED, 0, 1)], "is registered already");
        assert_finds(&[(REMOVED, 1, 0)], "is not in circulation");
        assert_finds(&[(CANCELED, 0, 1)], "is not registered");
    }

    #[test]
    fn finds_an_event_type_that_is_not_the_librarys() {
        assert_finds(&[("BookCopyBurned", 1, 0)], "no such event type");
    }
}

use std::collections::{HashMap, HashSet};

use eddyline::SequencedEvent;
use serde::Deserialize;
use uuid::Uuid;

use super::findings::Findings;

/// A check that the events of a log keep the rules of the library.
///
/// It shares no code with the commands, not even their types: with shared code, it would not find
/// the errors of the commands.
#[derive(Default)]
pub struct RuleCheck {
    books_in_circulation: HashSet<Uuid>,
    registered_readers: HashSet<Uuid>,
    reader_by_lent_book: HashMap<Uuid, Uuid>,
    loans_by_reader: HashMap<Uuid, u32>,
}

#[derive(Deserialize)]
struct Ids {
    #[serde(rename = "BookID", default)]
    book: Uuid,
    #[serde(rename = "ReaderID", default)]
    reader: Uuid,
}

impl RuleCheck {
    /// Applies an event and adds a finding for each rule that it breaks.
    pub fn check(&mut self, event: &SequencedEvent, findings: &mut Findings) {
        let mut add_finding = |finding: String| {
            let (at, event_type) = (event.sequence_number(), event.event_type());
            findings.add(format!("event {at}, {event_type}: {finding}"));
        };
        let Ids { book, reader } = match event.payload() {
            Ok(ids) => ids,
            Err(error) => return add_finding(error.to_string()),
        };
        match event.event_type() {
            "BookCopyAddedToCirculation" => self.add(book, add_finding),
            "BookCopyRemovedFromCirculation" => self.remove(book, add_finding),
            "BookCopyLentToReader" => self.lend(book, reader, add_finding),
            "BookCopyReturnedByReader" => self.give_back(book, reader, add_finding),
            "ReaderRegistered" => self.register(reader, add_finding),
            "ReaderContractCanceled" => self.cancel(reader, add_finding),
            failure if FAILURE_EVENTS.contains(&failure) => {}
            _ => add_finding("the library has no such event type".to_owned()),
        }
    }

    fn add(&mut self, book: Uuid, mut add_finding: impl FnMut(String)) {
        if !self.books_in_circulation.insert(book) {
            add_finding(format!("book {book} is in circulation already"));
        }
    }

    fn remove(&mut self, book: Uuid, mut add_finding: impl FnMut(String)) {
        if !self.books_in_circulation.remove(&book) {
            add_finding(format!("book {book} is not in circulation"));
        }
        if self.reader_by_lent_book.contains_key(&book) {
            add_finding(format!("book {book} is lent"));
        }
    }

    fn lend(&mut self, book: Uuid, reader: Uuid, mut add_finding: impl FnMut(String)) {
        if self.reader_by_lent_book.insert(book, reader).is_some() {
            add_finding(format!("book {book} is lent already"));
        }
        let loans = self.loans_by_reader.entry(reader).or_default();
        *loans += 1;
        if *loans > MAX_LOANS {
            add_finding(format!("reader {reader} has {loans} books"));
        }
        if !self.registered_readers.contains(&reader) {
            add_finding(format!("reader {reader} is not registered"));
        }
        if !self.books_in_circulation.contains(&book) {
            add_finding(format!("book {book} is not in circulation"));
        }
    }

    fn give_back(&mut self, book: Uuid, reader: Uuid, mut add_finding: impl FnMut(String)) {
        if self.reader_by_lent_book.remove(&book) != Some(reader) {
            return add_finding(format!("book {book} is not lent to reader {reader}"));
        }
        if let Some(loans) = self.loans_by_reader.get_mut(&reader) {
            *loans = loans.saturating_sub(1);
        }
    }

    fn register(&mut self, reader: Uuid, mut add_finding: impl FnMut(String)) {
        if !self.registered_readers.insert(reader) {
            add_finding(format!("reader {reader} is registered already"));
        }
    }

    fn cancel(&mut self, reader: Uuid, mut add_finding: impl FnMut(String)) {
        if !self.registered_readers.remove(&reader) {
            add_finding(format!("reader {reader} is not registered"));
        }
        match self.loans_by_reader.get(&reader) {
            None | Some(0) => {}
            Some(loans) => add_finding(format!("reader {reader} has {loans} books")),
        }
    }
}

const MAX_LOANS: u32 = 10;
const FAILURE_EVENTS: [&str; 4] = [
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

    /// Returns the findings in a log of events, each given by its type, book and reader.
    fn findings(log: &[(&str, u128, u128)]) -> Vec<String> {
        let (mut rule_check, mut findings) = (RuleCheck::default(), Findings::default());
        for (number, (event_type, book, reader)) in (1..).zip(log) {
            let ids =
                json!({ "BookID": Uuid::from_u128(*book), "ReaderID": Uuid::from_u128(*reader) });
            let event = Event::new(*event_type, &ids).unwrap();
            let number = SequenceNumber::new(number);
            rule_check
                .check(&SequencedEvent::new(event, number, Timestamp::UNIX_EPOCH), &mut findings);
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
    fn has_no_findings_if_the_log_keeps_the_rules() {
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
    fn finds_a_loan_to_a_reader_who_is_not_registered() {
        let canceled = [(ADDED, 1, 0), (REGISTERED, 0, 1), (CANCELED, 0, 1), (LENT, 1, 1)];

        assert_finds(&[(ADDED, 1, 0), (LENT, 1, 1)], "is not registered");
        assert_finds(&canceled, "is not registered");
    }

    #[test]
    fn finds_a_loan_of_a_book_that_is_not_in_circulation() {
        let removed = [(REGISTERED, 0, 1), (ADDED, 1, 0), (REMOVED, 1, 0), (LENT, 1, 1)];

        assert_finds(&[(REGISTERED, 0, 1), (LENT, 1, 1)], "is not in circulation");
        assert_finds(&removed, "is not in circulation");
    }

    #[test]
    fn finds_a_return_of_a_book_that_is_not_lent_to_the_reader() {
        let lent = [(ADDED, 1, 0), (REGISTERED, 0, 1), (LENT, 1, 1), (RETURNED, 1, 2)];

        assert_finds(&[(RETURNED, 1, 1)], "is not lent to reader");
        assert_finds(&lent, "is not lent to reader");
    }

    #[test]
    fn finds_a_removal_or_cancellation_during_a_loan() {
        let lent = [(ADDED, 1, 0), (REGISTERED, 0, 1), (LENT, 1, 1)];

        assert_finds(&[&lent[..], &[(REMOVED, 1, 0)]].concat(), "is lent");
        assert_finds(&[&lent[..], &[(CANCELED, 0, 1)]].concat(), "has 1 books");
    }

    #[test]
    fn finds_repeated_changes() {
        assert_finds(&[(ADDED, 1, 0), (ADDED, 1, 0)], "is in circulation already");
        assert_finds(&[(REGISTERED, 0, 1), (REGISTERED, 0, 1)], "is registered already");
        assert_finds(&[(REMOVED, 1, 0)], "is not in circulation");
        assert_finds(&[(CANCELED, 0, 1)], "is not registered");
    }

    #[test]
    fn finds_an_unknown_event_type() {
        assert_finds(&[("BookCopyBurned", 1, 0)], "no such event type");
    }
}

//! A library in memory, for tests: it decides with the code of the library, on a log without a
//! server, and keeps the replies.

use eddyline::{Event, SequenceNumber, SequencedEvent};
use jiff::{SignedDuration, Timestamp};
use library::commands::{
    AddBookCopy, CancelReaderContract, Command, CommandError, Decision, Effort,
    LendBookCopyToReader, Outcome, Receipt, RegisterReader, RemoveBookCopy,
    ReturnBookCopyFromReader, decide,
};
use library::domain::{BookData, BookId, DomainEvent, OccurredAt, ReaderId};
use library::queries::{self, Answer, SequencedDomainEvent};
use uuid::Uuid;

use super::inspection::{Inspected, Inspection};
use crate::replies::{Canonical, Replies, Subject};

pub struct MemoryLibrary {
    pub log: Vec<SequencedEvent>,
    pub replies: Replies,
    /// The number of newest events of its history that each command does not see.
    pub unseen: usize,
    /// The minute of the next event.
    pub minute: u32,
}

type Result = std::result::Result<(), CommandError>;

impl MemoryLibrary {
    pub fn open() -> Self {
        let replies = Replies::after(SequenceNumber::ZERO);
        Self { log: Vec::new(), replies, unseen: 0, minute: 0 }
    }

    pub fn head(&self) -> SequenceNumber {
        self.log.last().map_or(SequenceNumber::ZERO, SequencedEvent::sequence_number)
    }

    pub fn add(&mut self, book_number: u32) -> Result {
        let (book, data) = (book(book_number), data(book_number));
        self.run(&AddBookCopy { book, data, occurred_at: at(self.minute) }, Some(book), None)
    }

    pub fn remove(&mut self, book_number: u32) -> Result {
        let book = book(book_number);
        self.run(&RemoveBookCopy { book, occurred_at: at(self.minute) }, Some(book), None)
    }

    pub fn register(&mut self, reader_number: u32) -> Result {
        let (reader, name) = (reader(reader_number), format!("Reader \"{reader_number}\""));
        let command = RegisterReader { reader, name, occurred_at: at(self.minute) };
        self.run(&command, None, Some(reader))
    }

    pub fn cancel(&mut self, reader_number: u32) -> Result {
        let reader = reader(reader_number);
        let command = CancelReaderContract { reader, occurred_at: at(self.minute) };
        self.run(&command, None, Some(reader))
    }

    pub fn lend(&mut self, book_number: u32, reader_number: u32) -> Result {
        let (book, reader) = (book(book_number), reader(reader_number));
        let command = LendBookCopyToReader { book, reader, occurred_at: at(self.minute) };
        self.run(&command, Some(book), Some(reader))
    }

    pub fn give_back(&mut self, book_number: u32, reader_number: u32) -> Result {
        let (book, reader) = (book(book_number), reader(reader_number));
        let command = ReturnBookCopyFromReader { book, reader, occurred_at: at(self.minute) };
        self.run(&command, Some(book), Some(reader))
    }

    /// Answers a query from the log without its newest events, and keeps the answer.
    pub fn answer_without<Q: Canonical>(&mut self, query: &Q, newest: usize) -> Q::Answer {
        let seen = self.log.len().saturating_sub(newest);
        self.answer_from(query, seen)
    }

    pub fn answer<Q: Canonical>(&mut self, query: &Q) -> Q::Answer {
        self.answer_without(query, 0)
    }

    /// Keeps an answer, as given at the head.
    pub fn keep<Q: Canonical>(&self, query: &Q, value: Q::Answer) {
        let (position, served_by) = (self.head(), "replica-0".to_owned());
        let answer = Answer { value, position, served_by, attempts: 1 };
        self.replies.answer(query, position, &answer);
    }

    /// Appends an event that no command stored.
    pub fn append(&mut self, event: Event) {
        // Positions have gaps.
        let position = self.head().value() + 1 + (self.log.len() % 2) as u64;
        let position = SequenceNumber::new(position);
        self.log.push(SequencedEvent::new(event, position, Timestamp::UNIX_EPOCH));
    }

    pub fn append_unchecked(&mut self, event: impl Into<DomainEvent>) {
        self.append(event.into().to_event(Uuid::from_u128(1)).unwrap());
    }

    /// Forgets all replies, as if the events came from elsewhere.
    pub fn forget_replies(&mut self) {
        self.replies = Replies::after(SequenceNumber::ZERO);
    }

    /// Takes the events so far as those before the load.
    pub fn begin_load(&mut self) {
        self.replies = Replies::after(self.head());
    }

    pub fn inspect(&self) -> Inspected {
        let mut inspection = Inspection::new(self.replies.take());
        self.log.iter().for_each(|event| inspection.check(event));
        inspection.finish(self.head())
    }

    /// Returns the findings of the load.
    pub fn findings(&self) -> Vec<String> {
        self.inspect().findings.first
    }

    fn answer_from<Q: Canonical>(&self, query: &Q, seen: usize) -> Q::Answer {
        let filter = query.filter().unwrap();
        let events = self.log[..seen].iter().filter(|event| filter.matches(event.event()));
        let events: Vec<_> =
            events.filter_map(|event| SequencedDomainEvent::try_from(event).ok()).collect();
        let answer = queries::answer(query, events.iter().cloned());
        self.keep(query, queries::answer(query, events));
        answer
    }

    fn run<C: Command>(
        &mut self,
        command: &C,
        book: Option<BookId>,
        reader: Option<ReaderId>,
    ) -> Result {
        let filter = command.filter().unwrap();
        let history = self.log.iter().filter(|event| filter.matches(event.event()));
        let mut history: Vec<_> =
            history.map(|event| DomainEvent::try_from(event).unwrap()).collect();
        history.truncate(history.len().saturating_sub(self.unseen));
        let subject = Subject { command: C::NAME, book, reader };
        let decision = decide(command, history);
        let result = match decision {
            Decision::Idempotent => {
                Ok(Outcome::Idempotent { position: self.head(), effort: Effort::default() })
            }
            Decision::Success(event) => Ok(Outcome::Success(self.store(event))),
            Decision::Rejected(event, reason) => {
                let (event_type, receipt) = (event.event_type(), self.store(event));
                Err(CommandError::Rejected { event_type, reason, receipt })
            }
        };
        self.replies.command(subject, &result);
        result.map(drop)
    }

    fn store(&mut self, event: DomainEvent) -> Receipt {
        let event = event.to_event(Uuid::from_u128(1)).unwrap();
        let event_id = event.id();
        self.append(event);
        Receipt { event_id, position: self.head(), effort: Effort::default() }
    }
}

pub fn book(number: u32) -> BookId {
    Uuid::from_u128(number.into()).into()
}

pub fn reader(number: u32) -> ReaderId {
    Uuid::from_u128(number.into()).into()
}

pub fn at(minute: u32) -> OccurredAt {
    let morning: Timestamp = "2026-03-01T08:00:00Z".parse().unwrap();
    (morning + SignedDuration::from_mins(minute.into())).into()
}

pub fn data(number: u32) -> BookData {
    BookData {
        isbn: format!("978-0-14-04391-{number}"),
        title: "Gödel, \"Escher\", Bach".to_owned(),
        authors: "Douglas R. Hofstadter".to_owned(),
        edition: "2nd".to_owned(),
        publisher: "Penguin".to_owned(),
        publication_year: 1994,
    }
}

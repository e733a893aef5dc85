use std::collections::{BTreeMap, HashMap};

use eddyline::SequenceNumber;
use jiff::Timestamp;
use uuid::Uuid;

use super::record::{Book, Details, Record};
use super::table::{Row, Table, content};
use crate::replies::{CommandName, Content, KeptAnswer, Question, row_hash};

/// The answers to all queries that the log implies at a point. Only the hashes of their rows are
/// kept, so that a log of millions of events fits into memory.
#[derive(Debug, Default)]
pub struct Lists {
    in_circulation: Table,
    /// The hashes of the row of a copy in circulation: on the shelf, and lent.
    copies: HashMap<Uuid, [u64; 2]>,
    lent_out: Table,
    lent_by_reader: HashMap<Uuid, Table>,
    registered: Table,
    canceled: Table,
    removed: Table,
    /// The hashes of the rows of the returns, in the order of their times.
    returned: BTreeMap<(Timestamp, SequenceNumber), u64>,
}

impl Lists {
    /// Applies an event.
    pub fn apply(&mut self, record: &Record, position: SequenceNumber) {
        let Record { command, book, reader, occurred_at, details } = record;
        let row = |text: &str| Row { since: *occurred_at, position, hash: row_hash(text) };
        match (command, details) {
            (_, Details::Failure(_)) => {}
            (_, Details::Book(data)) => self.add(*book, data, *occurred_at, position),
            (_, Details::Name(name)) => {
                let text = format!("reader {reader} {name:?} registered {occurred_at:.6}");
                self.registered.insert(*reader, row(&text));
                self.canceled.remove(*reader);
            }
            (CommandName::CancelReaderContract, _) => {
                self.registered.remove(*reader);
                let text = format!("reader {reader} canceled {occurred_at:.6}");
                self.canceled.insert(*reader, row(&text));
            }
            (CommandName::LendBookCopyToReader, _) => {
                let text = format!("book {book} reader {reader} lent {occurred_at:.6}");
                self.lent_out.insert(*book, row(&text));
                let loans = self.lent_by_reader.entry(*reader).or_default();
                loans.insert(*book, row(&format!("book {book} lent {occurred_at:.6}")));
                self.set_lent(*book, true);
            }
            (CommandName::RemoveBookCopy, _) => {
                self.in_circulation.remove(*book);
                self.copies.remove(book);
                self.removed.insert(*book, row(&format!("book {book} removed {occurred_at:.6}")));
            }
            (CommandName::ReturnBookCopyFromReader, _) => {
                self.lent_out.remove(*book);
                if let Some(loans) = self.lent_by_reader.get_mut(reader) {
                    loans.remove(*book);
                }
                self.set_lent(*book, false);
                let text = format!("book {book} reader {reader} returned {occurred_at:.6}");
                self.returned.insert((*occurred_at, position), row_hash(&text));
            }
            (CommandName::AddBookCopy | CommandName::RegisterReader, Details::None) => {}
        }
    }

    fn add(&mut self, book: Uuid, data: &Book, since: Timestamp, position: SequenceNumber) {
        let Book { isbn, title, authors, edition, publisher, publication_year } = data;
        let hashes = ["on the shelf", "lent"].map(|state| {
            row_hash(&format!(
                "book {book} {isbn:?} {title:?} {authors:?} {edition:?} {publisher:?} \
                 {publication_year} added {since:.6} {state}"
            ))
        });
        self.in_circulation.insert(book, Row { since, position, hash: hashes[0] });
        self.copies.insert(book, hashes);
        self.removed.remove(book);
    }

    fn set_lent(&mut self, book: Uuid, is_lent: bool) {
        if let Some(hashes) = self.copies.get(&book)
            && let Some(row) = self.in_circulation.remove(book)
        {
            let hash = hashes[usize::from(is_lent)];
            self.in_circulation.insert(book, Row { hash, ..row });
        }
    }

    /// Returns whether an answer has the rows that the log implies.
    ///
    /// The order of the rows is checked in the last answers and in those that have few rows.
    pub fn agrees(&self, answer: &KeptAnswer) -> bool {
        let (content, question) = (answer.content, answer.question);
        let expected = match (question, self.table(question)) {
            (Question::FinishedLendings { max, .. }, _) if max > MAX_CHECKED && !answer.is_last => {
                let total = self.returned.len() as u64;
                let rows = total.min(max);
                Content { rows, count: rows, total, ..content }
            }
            (Question::BooksLentByReader(_), _) | (_, None) => self.content(question),
            (_, Some(_)) if answer.is_last => self.content(question),
            (_, Some(table)) => Content { order: content.order, ..table.unordered() },
        };
        content == expected
    }

    /// Returns the rows of the answer to a query, in their order.
    pub fn rows(&self, question: Question) -> Vec<Row> {
        match question {
            Question::FinishedLendings { max, newest_first } => self.finished(max, newest_first),
            _ => self.table(question).map(Table::ordered).unwrap_or_default(),
        }
    }

    fn content(&self, question: Question) -> Content {
        let content = content(&self.rows(question));
        match question {
            Question::FinishedLendings { .. } => {
                Content { total: self.returned.len() as u64, ..content }
            }
            _ => content,
        }
    }

    /// Returns the rows of the answer to a query, if they are in a table.
    fn table(&self, question: Question) -> Option<&Table> {
        match question {
            Question::BooksInCirculation => Some(&self.in_circulation),
            Question::BooksLentByReader(reader) => self.lent_by_reader.get(&reader),
            Question::BooksLentOut => Some(&self.lent_out),
            Question::CanceledReaders => Some(&self.canceled),
            Question::FinishedLendings { .. } => None,
            Question::RegisteredReaders => Some(&self.registered),
            Question::RemovedBooks => Some(&self.removed),
        }
    }

    fn finished(&self, max: u64, newest_first: bool) -> Vec<Row> {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let row = |((since, position), hash): (&(Timestamp, SequenceNumber), &u64)| Row {
            since: *since,
            position: *position,
            hash: *hash,
        };
        match newest_first {
            true => self.returned.iter().rev().take(max).map(row).collect(),
            false => self.returned.iter().take(max).map(row).collect(),
        }
    }
}

/// The maximum number of finished loans that are compared in each answer. With more, the rows are
/// compared in the last answers only, and their number in all.
const MAX_CHECKED: u64 = 1_000;

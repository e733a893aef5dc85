use std::collections::{HashMap, HashSet};
use std::fmt;

use uuid::Uuid;

use super::record::{Details, Record};
use crate::replies::CommandName;

/// The state of the books and readers at a point of the log, and the rules of the library.
///
/// It shares no code with the commands, not even their types: with shared code, it would not find
/// the errors of the commands.
#[derive(Debug, Default)]
pub struct Rules {
    books: HashMap<Uuid, Book>,
    readers: HashMap<Uuid, Reader>,
    /// The numbers of a book and a reader, for each loan that has ended.
    returned: HashSet<(u32, u32)>,
}

/// What the rules demand of a command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It stores its event.
    Change,
    /// It stores nothing, because nothing is to be changed.
    Nothing,
    /// It stores its failure event with this reason.
    Refusal(&'static str),
}

/// A book. It has a number, since pairs of numbers take less memory than pairs of ids.
#[derive(Debug, Default)]
struct Book {
    number: u32,
    is_ever_added: bool,
    is_in_circulation: bool,
    /// The number of the reader to whom it is lent.
    borrower: Option<u32>,
}

#[derive(Debug, Default)]
struct Reader {
    number: u32,
    is_ever_registered: bool,
    is_registered: bool,
    /// The numbers of the books that are lent to the reader.
    loans: Vec<u32>,
}

impl Rules {
    /// Returns the rule that an event breaks, as a finding, if it does.
    pub fn violation(&self, record: &Record) -> Option<String> {
        let Record { command, book, reader, .. } = record;
        let verdict = self.verdict(*command, *book, *reader);
        match (&record.details, verdict) {
            (Details::Failure(reason), Verdict::Refusal(expected)) if reason == expected => None,
            (Details::Failure(reason), verdict) => {
                let subject = Subject(*book, *reader);
                Some(format!("{command} was rejected for {reason:?}, but {verdict}{subject}"))
            }
            (_, Verdict::Change) => None,
            (_, verdict) => {
                let subject = Subject(*book, *reader);
                Some(format!("{command} was accepted, but {verdict}{subject}"))
            }
        }
    }

    /// Returns what the rules demand of a command in the current state.
    pub fn verdict(&self, command: CommandName, book: Uuid, reader: Uuid) -> Verdict {
        let (no_book, no_reader) = (Book::default(), Reader::default());
        let book = self.books.get(&book).unwrap_or(&no_book);
        let reader = self.readers.get(&reader).unwrap_or(&no_reader);
        match command {
            CommandName::AddBookCopy if book.is_in_circulation => Verdict::Nothing,
            CommandName::AddBookCopy => Verdict::Change,
            CommandName::CancelReaderContract => cancel(reader),
            CommandName::LendBookCopyToReader => lend(book, reader),
            CommandName::RegisterReader if reader.is_registered => Verdict::Nothing,
            CommandName::RegisterReader => Verdict::Change,
            CommandName::RemoveBookCopy => remove(book),
            CommandName::ReturnBookCopyFromReader => self.give_back(book, reader),
        }
    }

    fn give_back(&self, book: &Book, reader: &Reader) -> Verdict {
        if !reader.is_ever_registered {
            return Verdict::Refusal("reader was never registered");
        }
        if !book.is_ever_added {
            return Verdict::Refusal("book was never added to circulation");
        }
        if reader.loans.contains(&book.number) {
            return Verdict::Change;
        }
        match self.returned.contains(&(book.number, reader.number)) {
            true => Verdict::Nothing,
            false => Verdict::Refusal("book is not lent to this reader"),
        }
    }

    /// Applies an event.
    pub fn apply(&mut self, record: &Record) {
        if matches!(record.details, Details::Failure(_)) {
            return;
        }
        match record.command {
            CommandName::AddBookCopy => {
                let book = self.book(record.book);
                book.is_ever_added = true;
                book.is_in_circulation = true;
            }
            CommandName::CancelReaderContract => self.reader(record.reader).is_registered = false,
            CommandName::LendBookCopyToReader => self.apply_loan(record),
            CommandName::RegisterReader => {
                let reader = self.reader(record.reader);
                reader.is_ever_registered = true;
                reader.is_registered = true;
            }
            CommandName::RemoveBookCopy => self.book(record.book).is_in_circulation = false,
            CommandName::ReturnBookCopyFromReader => self.apply_return(record),
        }
    }

    fn apply_loan(&mut self, record: &Record) {
        let reader = self.reader(record.reader).number;
        let book = self.book(record.book);
        book.borrower = Some(reader);
        let book = book.number;
        let loans = &mut self.reader(record.reader).loans;
        if !loans.contains(&book) {
            loans.push(book);
        }
    }

    fn apply_return(&mut self, record: &Record) {
        let book = self.book(record.book);
        book.borrower = None;
        let book = book.number;
        let reader = self.reader(record.reader);
        reader.loans.retain(|loan| *loan != book);
        let reader = reader.number;
        self.returned.insert((book, reader));
    }

    fn book(&mut self, id: Uuid) -> &mut Book {
        let number = next_number(self.books.len());
        self.books.entry(id).or_insert_with(|| Book { number, ..Book::default() })
    }

    fn reader(&mut self, id: Uuid) -> &mut Reader {
        let number = next_number(self.readers.len());
        self.readers.entry(id).or_insert_with(|| Reader { number, ..Reader::default() })
    }
}

/// Returns the next number of a book or a reader. Zero stands for those that the log does not have.
fn next_number(known: usize) -> u32 {
    u32::try_from(known + 1).expect("a log has less than four billion books and readers")
}

fn cancel(reader: &Reader) -> Verdict {
    if !reader.is_ever_registered {
        return Verdict::Refusal("reader was never registered");
    }
    if !reader.is_registered {
        return Verdict::Nothing;
    }
    match reader.loans.is_empty() {
        true => Verdict::Change,
        false => Verdict::Refusal("reader has outstanding book loans"),
    }
}

fn lend(book: &Book, reader: &Reader) -> Verdict {
    if !reader.is_registered {
        return Verdict::Refusal("reader is not currently registered");
    }
    if !book.is_in_circulation {
        return Verdict::Refusal("book is not in circulation");
    }
    match book.borrower {
        Some(borrower) if borrower == reader.number => Verdict::Nothing,
        Some(_) => Verdict::Refusal("book is already lent"),
        None if reader.loans.len() >= MAX_LOANS => Verdict::Refusal("reader has too many books"),
        None => Verdict::Change,
    }
}

fn remove(book: &Book) -> Verdict {
    if !book.is_ever_added {
        return Verdict::Refusal("book was never added to circulation");
    }
    if !book.is_in_circulation {
        return Verdict::Nothing;
    }
    match book.borrower {
        None => Verdict::Change,
        Some(_) => Verdict::Refusal("book is currently lent"),
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Change => f.write_str("the rules allow it"),
            Self::Nothing => f.write_str("there is nothing to change"),
            Self::Refusal(reason) => write!(f, "the rules refuse it: {reason}"),
        }
    }
}

/// The ids of a book and a reader at the end of a finding. A nil id is left out.
pub struct Subject(pub Uuid, pub Uuid);

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(book, reader) = self;
        match (book.is_nil(), reader.is_nil()) {
            (false, false) => write!(f, " (book {book}, reader {reader})"),
            (false, true) => write!(f, " (book {book})"),
            (true, false) => write!(f, " (reader {reader})"),
            (true, true) => Ok(()),
        }
    }
}

const MAX_LOANS: usize = 10;

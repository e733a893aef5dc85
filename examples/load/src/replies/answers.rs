use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::mem;

use eddyline::SequenceNumber;
use uuid::Uuid;

use crate::replies::Content;

/// A query with its arguments.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Question {
    /// The copies in circulation.
    BooksInCirculation,
    /// The copies that are lent to a reader.
    BooksLentByReader(Uuid),
    /// The lent copies.
    BooksLentOut,
    /// The readers whose contracts are canceled.
    CanceledReaders,
    /// The finished loans.
    FinishedLendings {
        /// The maximum number of rows.
        max: u64,
        /// Whether the last return comes first.
        newest_first: bool,
    },
    /// The registered readers.
    RegisteredReaders,
    /// The removed copies.
    RemovedBooks,
}

/// An answer to a query.
#[derive(Clone, Debug)]
pub struct KeptAnswer {
    /// The query.
    pub question: Question,
    /// The position at which the answer is true, as the server said.
    pub position: SequenceNumber,
    /// The contents.
    pub content: Content,
    /// The number of the server, for [`Answers::server`].
    pub server: u16,
    /// Whether it is one of the last answers to this type of query.
    pub is_last: bool,
    /// The rows, if there are only a few and it is one of the last answers.
    pub rows: Option<Box<[String]>>,
}

/// The answers to queries. Of all answers the hashes of their contents are kept, of the last ones
/// also the rows.
#[derive(Debug, Default)]
pub struct Answers {
    answers: Vec<KeptAnswer>,
    /// The last answers to each type of query, as indexes of `answers`.
    last: HashMap<mem::Discriminant<Question>, VecDeque<usize>>,
    servers: Vec<String>,
}

impl Answers {
    /// Adds an answer.
    pub fn add(
        &mut self,
        question: Question,
        position: SequenceNumber,
        served_by: &str,
        content: Content,
        rows: Option<Box<[String]>>,
    ) {
        let server = self.number_of_server(served_by);
        let last = self.last.entry(mem::discriminant(&question)).or_default();
        if last.len() == question.answers_kept()
            && let Some(former) = last.pop_front()
        {
            self.answers[former].is_last = false;
            self.answers[former].rows = None;
        }
        last.push_back(self.answers.len());
        let is_last = true;
        self.answers.push(KeptAnswer { question, position, content, server, is_last, rows });
    }

    /// Returns the name of the server that gave an answer.
    pub fn server(&self, answer: &KeptAnswer) -> &str {
        self.servers.get(usize::from(answer.server)).map_or("an unknown server", String::as_str)
    }

    /// Removes all answers and returns them.
    pub fn take(&mut self) -> Vec<KeptAnswer> {
        self.last.clear();
        mem::take(&mut self.answers)
    }

    fn number_of_server(&mut self, name: &str) -> u16 {
        let known = self.servers.iter().position(|server| server == name);
        let number = known.unwrap_or_else(|| {
            self.servers.push(name.to_owned());
            self.servers.len() - 1
        });
        u16::try_from(number).unwrap_or(u16::MAX)
    }
}

impl Question {
    /// Returns how many of the last answers are kept with their rows.
    fn answers_kept(self) -> usize {
        match self {
            Self::BooksLentByReader(_) => 200,
            _ => 3,
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BooksInCirculation => f.write_str("BooksInCirculation"),
            Self::BooksLentByReader(reader) => write!(f, "BooksLentByReader({reader})"),
            Self::BooksLentOut => f.write_str("BooksLentOut"),
            Self::CanceledReaders => f.write_str("CanceledReaders"),
            Self::FinishedLendings { max, newest_first } => {
                let order = if *newest_first { "newest" } else { "oldest" };
                write!(f, "FinishedLendings({max}, {order} first)")
            }
            Self::RegisteredReaders => f.write_str("RegisteredReaders"),
            Self::RemovedBooks => f.write_str("RemovedBooks"),
        }
    }
}

use std::fmt::{Arguments, Write};

use library::queries::{
    BooksInCirculation, BooksLentByReader, BooksLentOut, CanceledReaders, FinishedLendings, Order,
    Query, RegisteredReaders, RemovedBooks,
};

use crate::replies::{Content, ContentBuilder, Question, row_hash};

/// A query whose answers can be written as rows of text, with all their data and in their order.
///
/// The audit writes the rows that the log implies in the same form, with code of its own.
pub trait Canonical: Query {
    /// Returns the query.
    fn question(&self) -> Question;

    /// Calls a function with the text of each row.
    fn each_row(answer: &Self::Answer, row: impl FnMut(Arguments<'_>));

    /// Returns the number of rows, and the number without a limit, if the answer states them.
    fn totals(answer: &Self::Answer) -> Option<(usize, usize)> {
        let _ = answer;
        None
    }
}

/// Returns the contents of an answer, and its rows if there are only a few.
pub fn content<Q: Canonical>(answer: &Q::Answer) -> (Content, Option<Box<[String]>>) {
    let mut builder = ContentBuilder::default();
    let mut text = String::new();
    let mut first = Vec::new();
    Q::each_row(answer, |row| {
        text.clear();
        text.write_fmt(row).expect("a text takes everything that is written to it");
        builder.add(row_hash(&text));
        if first.len() <= MAX_LISTED_ROWS {
            first.push(text.clone());
        }
    });
    let mut content = builder.build();
    if let Some((count, total)) = Q::totals(answer) {
        (content.count, content.total) = (count as u64, total as u64);
    }
    let is_small = first.len() <= MAX_LISTED_ROWS;
    (content, is_small.then(|| first.into_boxed_slice()))
}

impl Canonical for BooksInCirculation {
    fn question(&self) -> Question {
        Question::BooksInCirculation
    }

    fn each_row(answer: &Self::Answer, mut row: impl FnMut(Arguments<'_>)) {
        for entry in &answer.books {
            let (book, data, added) = (entry.book, &entry.data, entry.added_at);
            let state = if entry.is_currently_lent { "lent" } else { "on the shelf" };
            row(format_args!(
                "book {book} {:?} {:?} {:?} {:?} {:?} {} added {added} {state}",
                data.isbn,
                data.title,
                data.authors,
                data.edition,
                data.publisher,
                data.publication_year,
            ));
        }
    }

    fn totals(answer: &Self::Answer) -> Option<(usize, usize)> {
        Some((answer.count, answer.count))
    }
}

impl Canonical for BooksLentOut {
    fn question(&self) -> Question {
        Question::BooksLentOut
    }

    fn each_row(answer: &Self::Answer, mut row: impl FnMut(Arguments<'_>)) {
        for loan in answer {
            row(format_args!("book {} reader {} lent {}", loan.book, loan.reader, loan.lent_at));
        }
    }
}

impl Canonical for BooksLentByReader {
    fn question(&self) -> Question {
        Question::BooksLentByReader(self.reader.into())
    }

    fn each_row(answer: &Self::Answer, mut row: impl FnMut(Arguments<'_>)) {
        for loan in answer {
            row(format_args!("book {} lent {}", loan.book, loan.lent_at));
        }
    }
}

impl Canonical for CanceledReaders {
    fn question(&self) -> Question {
        Question::CanceledReaders
    }

    fn each_row(answer: &Self::Answer, mut row: impl FnMut(Arguments<'_>)) {
        for entry in answer {
            row(format_args!("reader {} canceled {}", entry.reader, entry.canceled_at));
        }
    }
}

impl Canonical for FinishedLendings {
    fn question(&self) -> Question {
        let newest_first = self.order == Order::NewestFirst;
        Question::FinishedLendings { max: self.max as u64, newest_first }
    }

    fn each_row(answer: &Self::Answer, mut row: impl FnMut(Arguments<'_>)) {
        for entry in &answer.lendings {
            let (book, reader) = (entry.book, entry.reader);
            row(format_args!("book {book} reader {reader} returned {}", entry.returned_at));
        }
    }

    fn totals(answer: &Self::Answer) -> Option<(usize, usize)> {
        Some((answer.count, answer.total))
    }
}

impl Canonical for RegisteredReaders {
    fn question(&self) -> Question {
        Question::RegisteredReaders
    }

    fn each_row(answer: &Self::Answer, mut row: impl FnMut(Arguments<'_>)) {
        for entry in answer {
            let (reader, name, registered) = (entry.reader, &entry.name, entry.registered_at);
            row(format_args!("reader {reader} {name:?} registered {registered}"));
        }
    }
}

impl Canonical for RemovedBooks {
    fn question(&self) -> Question {
        Question::RemovedBooks
    }

    fn each_row(answer: &Self::Answer, mut row: impl FnMut(Arguments<'_>)) {
        for entry in answer {
            row(format_args!("book {} removed {}", entry.book, entry.removed_at));
        }
    }
}

/// The maximum number of rows of an answer whose text is kept.
const MAX_LISTED_ROWS: usize = 20;

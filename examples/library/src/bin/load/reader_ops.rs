use std::collections::HashSet;

use library::commands::{LendBookCopyToReader, ReturnBookCopyFromReader};
use library::domain::{BookId, OccurredAt};
use library::queries::BooksLentByReader;
use rand::RngExt;

use crate::catalogue::Place;
use crate::client::Client;
use crate::population::Reader;
use crate::session::Told;
use crate::tally::Ending;

impl Client {
    /// A reader comes, perhaps looks up the loans, brings books back and borrows others.
    pub(crate) async fn reader_ops(&mut self) {
        if self.readers.is_empty() {
            return self.register().await;
        }
        let index = self.rng.random_range(0..self.readers.len());
        let mut reader = self.readers.swap_remove(index);
        if self.chance(0.3) {
            self.look_up_loans(&reader).await;
        }
        let kept = if self.chance(0.85) { 0 } else { self.rng.random_range(1..=2) };
        for book in reader.loans.iter().copied().skip(kept).collect::<Vec<_>>() {
            self.bring_back(&mut reader, book).await;
        }
        if reader.loans.is_empty() || self.chance(0.65) {
            for _ in 0..self.rng.random_range(1..=5) {
                self.borrow_any(&mut reader).await;
            }
        }
        if self.chance(0.05) {
            self.mistake(&mut reader).await;
        }
        self.readers.push(reader);
    }

    /// Asks for the reader's loans, and checks that the answer knows what the reader did last.
    async fn look_up_loans(&mut self, reader: &Reader) {
        let query = BooksLentByReader { reader: reader.id };
        let Some(answer) = self.session.ask(&query, reader.seen).await else {
            return;
        };
        let answered: HashSet<_> = answer.value.iter().map(|loan| loan.book).collect();
        if reader.is_certain && answered != reader.loans.iter().copied().collect() {
            let (server, position) = (answer.served_by, answer.position);
            self.session.find(format!(
                "reader {} has {} books and {server} answered {} at {position}",
                reader.id,
                reader.loans.len(),
                answered.len(),
            ));
        }
    }

    /// Borrows a book of those on the shelves, often one that was brought back just now.
    async fn borrow_any(&mut self, reader: &mut Reader) {
        let window = if self.chance(0.3) { TROLLEY } else { usize::MAX };
        let found = self.catalogue.among_last(Place::OnShelf, window, &mut self.rng);
        let found = found.or_else(|| self.catalogue.any(Place::Lent, &mut self.rng));
        if let Some(book) = found {
            self.borrow(reader, book).await;
        }
    }

    async fn borrow(&mut self, reader: &mut Reader, book: BookId) {
        let occurred_at = OccurredAt::now();
        let lend = LendBookCopyToReader { book, reader: reader.id, occurred_at };
        let told = self.session.run(&lend).await;
        reader.note(&told);
        if told.is_done() {
            self.catalogue.put(book, Place::Lent);
            if !reader.loans.contains(&book) {
                reader.loans.push(book);
            }
        }
    }

    async fn bring_back(&mut self, reader: &mut Reader, book: BookId) {
        let occurred_at = OccurredAt::now();
        let give_back = ReturnBookCopyFromReader { book, reader: reader.id, occurred_at };
        let told = self.session.run(&give_back).await;
        reader.note(&told);
        if told.is_done() {
            reader.loans.retain(|loan| *loan != book);
        }
        if told.ending == Ending::Success {
            self.catalogue.put(book, Place::OnShelf);
        }
    }

    /// A reader asks for what cannot be, or for what is already so.
    async fn mistake(&mut self, reader: &mut Reader) {
        let place = match self.rng.random_range(0..6) {
            0 => Place::Lent,
            1 => Place::Removed,
            2 => return self.visit_in_vain().await,
            3 => return self.bring_back_strange(reader).await,
            _ => return self.repeat(reader).await,
        };
        if let Some(book) = self.any_book(place) {
            self.borrow(reader, book).await;
        }
    }

    /// Someone whose contract was canceled wants a book.
    async fn visit_in_vain(&mut self) {
        if let Some(book) = self.any_book(Place::OnShelf)
            && let Some(mut reader) = self.former.pop()
        {
            self.borrow(&mut reader, book).await;
            self.former.push(reader);
        }
    }

    /// A reader brings a book that is the library's and was not lent.
    async fn bring_back_strange(&mut self, reader: &mut Reader) {
        if let Some(book) = self.any_book(Place::OnShelf) {
            self.bring_back(reader, book).await;
        }
    }

    /// A reader asks for a book once more, or brings it once more.
    async fn repeat(&mut self, reader: &mut Reader) {
        let Some(book) = reader.loans.last().copied() else {
            return;
        };
        if self.chance(0.5) {
            self.borrow(reader, book).await;
        } else {
            self.bring_back(reader, book).await;
            self.bring_back(reader, book).await;
        }
    }
}

impl Reader {
    fn note(&mut self, told: &Told) {
        self.seen = self.seen.max(told.position.unwrap_or_default());
        self.is_certain &= told.ending != Ending::Error;
    }
}

/// How many books are still on the trolley, where readers like to look.
const TROLLEY: usize = 20;

//! Operations of readers: query loans, return copies, borrow copies.

use std::collections::HashSet;

use library::commands::{LendBookCopyToReader, ReturnBookCopyFromReader};
use library::domain::{BookId, OccurredAt};
use library::queries::BooksLentByReader;
use rand::RngExt;
use rand::seq::IndexedRandom;

use crate::catalogue::CopyState;
use crate::client::Client;
use crate::metrics::Status;
use crate::population::Reader;
use crate::session::Reply;

impl Client {
    /// Runs the operations of one random reader: perhaps a query, then returns and loans.
    pub(crate) async fn serve_reader(&mut self) {
        if self.readers.is_empty() {
            return self.register_new_reader().await;
        }
        let index = self.rng.random_range(0..self.readers.len());
        let mut reader = self.readers.swap_remove(index);
        if self.chance(0.3) {
            self.query_loans(&reader).await;
        }
        let kept = if self.chance(0.85) { 0 } else { self.rng.random_range(1..=2) };
        for book in reader.loans.iter().copied().skip(kept).collect::<Vec<_>>() {
            self.return_copy(&mut reader, book).await;
        }
        if reader.loans.is_empty() || self.chance(0.65) {
            for _ in 0..self.rng.random_range(1..=5) {
                self.borrow_any(&mut reader).await;
            }
        }
        if self.chance(0.05) {
            self.run_invalid_or_repeated_command(&mut reader).await;
        }
        self.readers.push(reader);
    }

    /// Returns a copy of a random reader, if the client has any.
    pub(crate) fn random_reader(&mut self) -> Option<Reader> {
        self.readers.choose(&mut self.rng).cloned()
    }

    /// Queries the loans of a reader, and checks that the answer has the reader's last change.
    pub(crate) async fn query_loans(&mut self, reader: &Reader) {
        let query = BooksLentByReader { reader: reader.id };
        let Some(answer) = self.session.query(&query, reader.last_position).await else {
            return;
        };
        let answered: HashSet<_> = answer.value.iter().map(|loan| loan.book).collect();
        if reader.loans_are_known && answered != reader.loans.iter().copied().collect() {
            let (server, position) = (answer.served_by, answer.position);
            self.session.add_finding(format!(
                "reader {} has {} books and {server} answered {} at {position}",
                reader.id,
                reader.loans.len(),
                answered.len(),
            ));
        }
    }

    /// Borrows a random copy on the shelf, often one that was returned recently. If no copy is on
    /// the shelf, tries to borrow a lent one.
    async fn borrow_any(&mut self, reader: &mut Reader) {
        let latest = if self.chance(0.3) { RECENT_COPIES } else { usize::MAX };
        let found = self.catalogue.any_of_latest(CopyState::OnShelf, latest, &mut self.rng);
        let found = found.or_else(|| self.catalogue.any(CopyState::Lent, &mut self.rng));
        if let Some(book) = found {
            self.borrow(reader, book).await;
        }
    }

    async fn borrow(&mut self, reader: &mut Reader, book: BookId) {
        let occurred_at = OccurredAt::now();
        let lend = LendBookCopyToReader { book, reader: reader.id, occurred_at };
        let reply = self.session.run(&lend).await;
        reader.note(&reply);
        if reply.is_done() {
            self.catalogue.set(book, CopyState::Lent);
            if !reader.loans.contains(&book) {
                reader.loans.push(book);
            }
        }
    }

    async fn return_copy(&mut self, reader: &mut Reader, book: BookId) {
        let occurred_at = OccurredAt::now();
        let give_back = ReturnBookCopyFromReader { book, reader: reader.id, occurred_at };
        let reply = self.session.run(&give_back).await;
        reader.note(&reply);
        if reply.is_done() {
            reader.loans.retain(|loan| *loan != book);
        }
        if reply.status == Status::Success {
            self.catalogue.set(book, CopyState::OnShelf);
        }
    }

    /// Runs a command that the rules forbid, or one whose goal is already reached.
    async fn run_invalid_or_repeated_command(&mut self, reader: &mut Reader) {
        let state = match self.rng.random_range(0..6) {
            0 => CopyState::Lent,
            1 => CopyState::Removed,
            2 => return self.borrow_as_former_reader().await,
            3 => return self.return_copy_on_shelf(reader).await,
            _ => return self.repeat_command(reader).await,
        };
        if let Some(book) = self.any_book(state) {
            self.borrow(reader, book).await;
        }
    }

    /// Tries to lend a copy to a reader whose contract is canceled.
    async fn borrow_as_former_reader(&mut self) {
        if let Some(book) = self.any_book(CopyState::OnShelf)
            && let Some(mut reader) = self.former_readers.pop()
        {
            self.borrow(&mut reader, book).await;
            self.former_readers.push(reader);
        }
    }

    /// Tries to return a copy that is not lent.
    async fn return_copy_on_shelf(&mut self, reader: &mut Reader) {
        if let Some(book) = self.any_book(CopyState::OnShelf) {
            self.return_copy(reader, book).await;
        }
    }

    /// Borrows a copy that the reader already has, or returns a copy twice.
    async fn repeat_command(&mut self, reader: &mut Reader) {
        let Some(book) = reader.loans.last().copied() else {
            return;
        };
        if self.chance(0.5) {
            self.borrow(reader, book).await;
        } else {
            self.return_copy(reader, book).await;
            self.return_copy(reader, book).await;
        }
    }
}

impl Reader {
    fn note(&mut self, reply: &Reply) {
        self.last_position = self.last_position.max(reply.position.unwrap_or_default());
        self.loans_are_known &= reply.status != Status::Error;
    }
}

/// The number of copies that entered the shelf last, among which readers prefer to choose.
const RECENT_COPIES: usize = 20;

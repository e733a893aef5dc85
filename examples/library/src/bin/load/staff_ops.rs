//! Operations of the staff: change circulation and registrations, and list books and readers.

use eddyline::SequenceNumber;
use library::commands::{
    AddBookCopy, CancelReaderContract, Command, RegisterReader, RemoveBookCopy,
};
use library::domain::{BookData, BookId, OccurredAt, ReaderId};
use library::queries::{
    BooksInCirculation, BooksLentOut, CanceledReaders, FinishedLendings, Order, Query,
    RegisteredReaders, RemovedBooks,
};
use rand::RngExt;

use crate::catalogue::CopyState;
use crate::client::Client;
use crate::generate;
use crate::metrics::Status;
use crate::population::Reader;

impl Client {
    /// Adds a copy to circulation or removes one. Some of the commands break a rule or change
    /// nothing.
    pub(crate) async fn change_circulation(&mut self) {
        let (new, data) = generate::book(&mut self.rng);
        match self.rng.random_range(0..100) {
            0..45 => self.add(new, data).await,
            45..55 => match self.any_book(CopyState::Removed) {
                Some(book) => self.add(book, data).await,
                None => self.add(new, data).await,
            },
            55..90 => self.remove_any(CopyState::OnShelf).await,
            90..92 => self.remove(new).await,
            92..95 => self.remove_any(CopyState::Lent).await,
            95..98 => self.remove_any(CopyState::Removed).await,
            _ => {
                if let Some(book) = self.any_book(CopyState::OnShelf) {
                    self.add(book, data).await;
                }
            }
        }
    }

    /// Registers a reader or cancels a contract. Some of the commands break a rule or change
    /// nothing.
    pub(crate) async fn change_registrations(&mut self) {
        match self.rng.random_range(0..100) {
            0..40 => self.register_new_reader().await,
            40..55 => self.register_former_reader().await,
            55..85 => self.cancel_any(|reader| reader.loans.is_empty()).await,
            85..90 => self.cancel_any(|reader| !reader.loans.is_empty()).await,
            90..95 => {
                if let Some(reader) = self.former_readers.last().map(|reader| reader.id) {
                    self.cancel(reader).await;
                }
            }
            95..98 => {
                let (reader, _) = generate::reader(&mut self.rng);
                self.cancel(reader).await;
            }
            _ => {
                if let Some(reader) = self.readers.last() {
                    let (reader, name) = (reader.id, reader.name.clone());
                    let occurred_at = OccurredAt::now();
                    self.session.run(&RegisterReader { reader, name, occurred_at }).await;
                }
            }
        }
    }

    /// Runs a random query that concerns all books or all readers.
    pub(crate) async fn run_list_query(&mut self) {
        match self.rng.random_range(0..7) {
            0 => self.query(&BooksInCirculation).await,
            1 => self.query(&BooksLentOut).await,
            2 => self.query(&RegisteredReaders).await,
            3 => self.query(&CanceledReaders).await,
            4 => self.query(&RemovedBooks).await,
            _ => {
                let newest = self.chance(0.5);
                let order = if newest { Order::NewestFirst } else { Order::OldestFirst };
                self.query(&FinishedLendings { max: 100, order }).await;
            }
        }
    }

    /// Registers a new reader.
    pub(crate) async fn register_new_reader(&mut self) {
        let (id, name) = generate::reader(&mut self.rng);
        self.register(Reader::new(id, name)).await;
    }

    /// Returns a random copy in a state.
    pub(crate) fn any_book(&mut self, state: CopyState) -> Option<BookId> {
        self.catalogue.any(state, &mut self.rng)
    }

    /// Registers a reader whose contract is canceled.
    async fn register_former_reader(&mut self) {
        match self.former_readers.pop() {
            Some(reader) => self.register(reader).await,
            None => self.register_new_reader().await,
        }
    }

    async fn register(&mut self, mut reader: Reader) {
        let (id, name, occurred_at) = (reader.id, reader.name.clone(), OccurredAt::now());
        let reply = self.session.run(&RegisterReader { reader: id, name, occurred_at }).await;
        reader.last_position = reader.last_position.max(reply.position.unwrap_or_default());
        if reply.is_done() {
            self.readers.push(reader);
        } else {
            self.former_readers.push(reader);
        }
    }

    async fn cancel_any(&mut self, wanted: impl Fn(&Reader) -> bool) {
        match self.readers.iter().position(wanted) {
            Some(index) => {
                if self.cancel(self.readers[index].id).await == Status::Success {
                    self.former_readers.push(self.readers.swap_remove(index));
                }
            }
            None => self.register_new_reader().await,
        }
    }

    async fn cancel(&mut self, reader: ReaderId) -> Status {
        let occurred_at = OccurredAt::now();
        self.session.run(&CancelReaderContract { reader, occurred_at }).await.status
    }

    async fn add(&mut self, book: BookId, data: BookData) {
        let add = AddBookCopy { book, data, occurred_at: OccurredAt::now() };
        self.run_book_command(&add, book, CopyState::OnShelf).await;
    }

    async fn remove_any(&mut self, state: CopyState) {
        if let Some(book) = self.any_book(state) {
            self.remove(book).await;
        }
    }

    async fn remove(&mut self, book: BookId) {
        let remove = RemoveBookCopy { book, occurred_at: OccurredAt::now() };
        self.run_book_command(&remove, book, CopyState::Removed).await;
    }

    /// Runs a command that changes the state of a copy.
    async fn run_book_command(&mut self, command: &impl Command, book: BookId, state: CopyState) {
        if self.session.run(command).await.status == Status::Success {
            self.catalogue.set(book, state);
        }
    }

    async fn query(&mut self, query: &impl Query) {
        self.session.query(query, SequenceNumber::ZERO).await;
    }
}

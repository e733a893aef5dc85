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

use crate::books;
use crate::catalogue::Place;
use crate::client::Client;
use crate::population::Reader;
use crate::tally::Ending;

impl Client {
    /// A librarian adds a copy or takes one out of circulation.
    pub(crate) async fn keep_shelves(&mut self) {
        let (new, data) = books::book(&mut self.rng);
        match self.rng.random_range(0..100) {
            0..45 => self.add(new, data).await,
            45..55 => match self.any_book(Place::Removed) {
                Some(book) => self.add(book, data).await,
                None => self.add(new, data).await,
            },
            55..90 => self.remove_from(Place::OnShelf).await,
            90..92 => self.remove(new).await,
            92..95 => self.remove_from(Place::Lent).await,
            95..98 => self.remove_from(Place::Removed).await,
            _ => {
                if let Some(book) = self.any_book(Place::OnShelf) {
                    self.add(book, data).await;
                }
            }
        }
    }

    /// Someone comes to register, or to cancel.
    pub(crate) async fn keep_register(&mut self) {
        match self.rng.random_range(0..100) {
            0..40 => self.register().await,
            40..55 => self.register_again().await,
            55..85 => self.cancel_any(|reader| reader.loans.is_empty()).await,
            85..90 => self.cancel_any(|reader| !reader.loans.is_empty()).await,
            90..95 => {
                if let Some(reader) = self.former.last().map(|reader| reader.id) {
                    self.cancel(reader).await;
                }
            }
            95..98 => {
                let (reader, _) = books::reader(&mut self.rng);
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

    /// Someone in the office wants to know how the library does.
    pub(crate) async fn look_around(&mut self) {
        match self.rng.random_range(0..7) {
            0 => self.ask(&BooksInCirculation).await,
            1 => self.ask(&BooksLentOut).await,
            2 => self.ask(&RegisteredReaders).await,
            3 => self.ask(&CanceledReaders).await,
            4 => self.ask(&RemovedBooks).await,
            _ => {
                let newest = self.chance(0.5);
                let order = if newest { Order::NewestFirst } else { Order::OldestFirst };
                self.ask(&FinishedLendings { max: 100, order }).await;
            }
        }
    }

    /// Registers somebody new.
    pub(crate) async fn register(&mut self) {
        let (id, name) = books::reader(&mut self.rng);
        self.enrol(Reader::new(id, name)).await;
    }

    /// Returns any copy at a place.
    pub(crate) fn any_book(&mut self, place: Place) -> Option<BookId> {
        self.catalogue.any(place, &mut self.rng)
    }

    async fn register_again(&mut self) {
        match self.former.pop() {
            Some(reader) => self.enrol(reader).await,
            None => self.register().await,
        }
    }

    async fn enrol(&mut self, mut reader: Reader) {
        let (id, name, occurred_at) = (reader.id, reader.name.clone(), OccurredAt::now());
        let told = self.session.run(&RegisterReader { reader: id, name, occurred_at }).await;
        reader.seen = reader.seen.max(told.position.unwrap_or_default());
        if told.is_done() {
            self.readers.push(reader);
        } else {
            self.former.push(reader);
        }
    }

    async fn cancel_any(&mut self, wanted: impl Fn(&Reader) -> bool) {
        match self.readers.iter().position(wanted) {
            Some(index) => {
                if self.cancel(self.readers[index].id).await == Ending::Success {
                    self.former.push(self.readers.swap_remove(index));
                }
            }
            None => self.register().await,
        }
    }

    async fn cancel(&mut self, reader: ReaderId) -> Ending {
        let occurred_at = OccurredAt::now();
        self.session.run(&CancelReaderContract { reader, occurred_at }).await.ending
    }

    async fn add(&mut self, book: BookId, data: BookData) {
        let add = AddBookCopy { book, data, occurred_at: OccurredAt::now() };
        self.shelve(&add, book, Place::OnShelf).await;
    }

    async fn remove_from(&mut self, place: Place) {
        if let Some(book) = self.any_book(place) {
            self.remove(book).await;
        }
    }

    async fn remove(&mut self, book: BookId) {
        let remove = RemoveBookCopy { book, occurred_at: OccurredAt::now() };
        self.shelve(&remove, book, Place::Removed).await;
    }

    async fn shelve(&mut self, command: &impl Command, book: BookId, place: Place) {
        if self.session.run(command).await.ending == Ending::Success {
            self.catalogue.put(book, place);
        }
    }

    async fn ask(&mut self, query: &impl Query) {
        self.session.ask(query, SequenceNumber::ZERO).await;
    }
}

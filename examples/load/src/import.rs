//! The books, readers and loans that a log gets before the load.

use std::time::Instant;

use console::{Progress, print_stderr};
use eddyline::{Error, Event, ReadWrite, SequenceNumber, Store};
use futures_util::stream;
use jiff::{SignedDuration, Timestamp};
use library::commands::MAX_LOANS;
use library::domain::{
    BookCopyAddedToCirculation, BookCopyLentToReader, DomainEvent, OccurredAt, ReaderRegistered,
};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use uuid::Uuid;

use crate::city::{CityBuilder, generate};
use crate::replies::Replies;

/// The size of a city.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CitySize {
    /// The copies in circulation.
    pub books: u32,
    /// The registered readers.
    pub readers: u32,
    /// The copies that readers have.
    pub loans: u32,
}

/// An error in the size of a city.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub enum SizeError {
    /// There are not enough books.
    #[error("--loans {loans} is more than the {books} books of --books; every loan needs a book")]
    TooFewBooks {
        /// The loans.
        loans: u32,
        /// The books.
        books: u32,
    },

    /// There are not enough readers.
    #[error(
        "--loans {loans} is more than the {readers} readers of --readers may have; each may have \
         {MAX_LOANS}"
    )]
    TooFewReaders {
        /// The loans.
        loans: u32,
        /// The readers.
        readers: u32,
    },
}

impl CitySize {
    /// Checks that the loans are possible.
    ///
    /// # Errors
    ///
    /// [`SizeError`] says what there is too little of.
    pub fn check(self) -> Result<Self, SizeError> {
        let Self { books, readers, loans } = self;
        if loans > books {
            return Err(SizeError::TooFewBooks { loans, books });
        }
        if u64::from(loans) > u64::from(readers) * MAX_LOANS as u64 {
            return Err(SizeError::TooFewReaders { loans, readers });
        }
        Ok(self)
    }
}

/// Imports what a city lacks, and adds it to the city.
///
/// # Errors
///
/// Those of [`Store::import`].
pub async fn fill(
    city: &mut CityBuilder,
    size: CitySize,
    seed: u64,
    store: &Store<ReadWrite>,
    replies: &Replies,
) -> Result<(), Error> {
    let start = store.head().await?;
    // A log that is continued must not get the ids of an earlier load again.
    let missing = Missing::new(city, size, seed ^ start.value().rotate_left(32));
    let (total, command) = (missing.total, Uuid::now_v7());
    if total == 0 {
        return Ok(());
    }
    let (mut progress, began) = (Progress::toward("import", total), Instant::now());
    let mut ids = Vec::new();
    let events = missing.map(|event| {
        let event = event.to_event(command)?;
        ids.push(event.id());
        Ok::<Event, Error>(event)
    });
    let import = store.import(stream::iter(events)).on_progress(|so_far| {
        progress.show(so_far.read(), &format!("{} books, readers and loans", so_far.read()));
    });
    let imported = import.await.map_err(Error::from)?;
    drop(progress);
    let first = SequenceNumber::new(start.value() + 1);
    replies.imported(ids, first..=imported.position());
    let seconds = began.elapsed().as_secs_f64();
    print_stderr(&format!("imported {total} books, readers and loans in {seconds:.1} s"));
    Ok(())
}

/// Adds what a city lacks to the city, and gives the events to `each`. Nothing is stored.
pub fn fill_without_store(
    city: &mut CityBuilder,
    size: CitySize,
    seed: u64,
    each: impl FnMut(DomainEvent),
) {
    Missing::new(city, size, seed).for_each(each);
}

/// The events that a city lacks. They are spread over the years before the load.
struct Missing<'a> {
    city: &'a mut CityBuilder,
    books: usize,
    readers: usize,
    loans: usize,
    total: u64,
    random: SmallRng,
    time: Timestamp,
    interval: SignedDuration,
}

impl<'a> Missing<'a> {
    fn new(city: &'a mut CityBuilder, size: CitySize, seed: u64) -> Self {
        let (books, readers, loans) = city.size();
        let missing = |wanted: u32, there: usize| (wanted as usize).saturating_sub(there);
        let (books, readers, loans) = (
            missing(size.books, books),
            missing(size.readers, readers),
            missing(size.loans, loans),
        );
        let total = (books + readers + loans) as u64;
        let history = SignedDuration::from_hours(YEARS * 365 * 24);
        let nanoseconds = history.as_nanos() / i128::from(total.max(1));
        Self {
            city,
            books,
            readers,
            loans,
            total,
            random: SmallRng::seed_from_u64(seed),
            time: Timestamp::now() - history,
            interval: SignedDuration::from_nanos_i128(nanoseconds),
        }
    }

    fn choose(&mut self) -> Option<DomainEvent> {
        let occurred_at = OccurredAt::from(self.time);
        if let Some(left) = self.books.checked_sub(1) {
            self.books = left;
            let (book, data) = generate::book(&mut self.random);
            return Some(BookCopyAddedToCirculation { book, data, occurred_at }.into());
        }
        if let Some(left) = self.readers.checked_sub(1) {
            self.readers = left;
            let (reader, name) = generate::reader(&mut self.random);
            return Some(ReaderRegistered { reader, name, occurred_at }.into());
        }
        self.loans = self.loans.checked_sub(1)?;
        let (book, reader) = self.city.choose_loan(&mut self.random)?;
        Some(BookCopyLentToReader { book, reader, occurred_at }.into())
    }
}

impl Iterator for Missing<'_> {
    type Item = DomainEvent;

    fn next(&mut self) -> Option<DomainEvent> {
        let event = self.choose()?;
        self.time += self.interval;
        self.city.add(event.clone());
        Some(event)
    }
}

/// The time over which the events are spread.
const YEARS: i64 = 3;

use std::collections::{HashMap, HashSet};

use console::Progress;
use eddyline::{Error, Filter, ReadOnly, SequenceNumber, SequencedEvent, Store};
use futures_util::TryStreamExt;
use library::commands::MAX_LOANS;
use library::domain::{BookId, DomainEvent, ReaderId};
use rand::rngs::SmallRng;

use super::City;
use super::state::{Copy, Reader, State};

/// How unequal the choices of copies and readers are: the exponents of Zipf's law. 0 chooses all
/// equally often.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Skew {
    /// That of copies.
    pub copies: f64,
    /// That of readers.
    pub readers: f64,
}

/// An exponent is not allowed.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{option} must be between 0 and {MAX_SKEW}, not {value}")]
pub struct SkewError {
    /// The option.
    pub option: &'static str,
    /// Its value.
    pub value: f64,
}

impl Skew {
    /// Checks the exponents.
    ///
    /// # Errors
    ///
    /// [`SkewError`] if one is negative, not a number, or so high that one reader would do
    /// everything.
    pub fn check(self) -> Result<Self, SkewError> {
        for (option, value) in [("--book-skew", self.copies), ("--reader-skew", self.readers)] {
            if !(0.0..=MAX_SKEW).contains(&value) {
                return Err(SkewError { option, value });
            }
        }
        Ok(self)
    }
}

/// A city that is built from the events of a log.
#[derive(Debug)]
pub struct CityBuilder {
    state: State,
    copies: HashMap<BookId, u32>,
    readers: HashMap<ReaderId, u32>,
    removed: HashSet<BookId>,
    former: HashMap<ReaderId, String>,
    /// Copies and readers whose events contradict each other. They take no part in the load.
    doubtful: HashSet<(BookId, ReaderId)>,
    /// The number of events that the library cannot read. The audit reports them.
    unreadable: u64,
}

impl CityBuilder {
    /// Returns an empty city.
    pub fn new(skew: Skew) -> Self {
        Self {
            state: State::new(skew.copies, skew.readers),
            copies: HashMap::new(),
            readers: HashMap::new(),
            removed: HashSet::new(),
            former: HashMap::new(),
            doubtful: HashSet::new(),
            unreadable: 0,
        }
    }

    /// Reads a log.
    ///
    /// # Errors
    ///
    /// Those of the store. An event that the library cannot read is counted, and is no error.
    pub async fn read(mut self, store: &Store<ReadOnly>) -> Result<Self, Error> {
        let head = store.head().await?;
        let mut progress = Progress::toward("city", head.value());
        let mut events = store.stream(&Filter::everything()).await?;
        let mut count: u64 = 0;
        while let Some(event) = events.try_next().await? {
            self.add_stored(&event);
            count += 1;
            if count.is_multiple_of(PROGRESS_INTERVAL) {
                progress.show(event.sequence_number().value(), &format!("{count} events"));
            }
        }
        Ok(self)
    }

    /// Returns the number of events that the library cannot read.
    pub fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// Returns the numbers of copies in circulation, of registered readers and of loans.
    pub fn size(&self) -> (usize, usize, usize) {
        let loans = self.state.readers.iter().map(|(_, reader)| reader.loans.len()).sum();
        (self.state.copies.len(), self.state.readers.len(), loans)
    }

    /// Returns the city, for a load that begins after this position.
    pub fn build(self, start: SequenceNumber) -> City {
        let Self { mut state, copies, readers, removed, former, doubtful, .. } = self;
        for (book, reader) in doubtful {
            readers.get(&reader).and_then(|reader| state.forget_reader(*reader));
            copies.get(&book).and_then(|copy| state.forget_copy(*copy));
        }
        // Their order must not depend on the hash function.
        state.removed = removed.into_iter().collect();
        state.removed.sort_unstable();
        state.former = former.into_iter().collect();
        state.former.sort_unstable();
        City { state: state.into(), salt: start.value().rotate_left(32) }
    }

    /// Chooses a copy on the shelf and a reader who may borrow it.
    pub fn choose_loan(&self, random: &mut SmallRng) -> Option<(BookId, ReaderId)> {
        let copy = self.state.copies.choose(random, Copy::is_on_shelf)?;
        let may_borrow = |reader: &Reader| reader.loans.len() < MAX_LOANS;
        let reader = self.state.readers.choose(random, may_borrow)?;
        Some((self.state.copies.get(copy)?.id, self.state.readers.get(reader)?.id))
    }

    fn add_stored(&mut self, event: &SequencedEvent) {
        match DomainEvent::try_from(event) {
            Ok(decoded) => {
                let reader = self.add(decoded);
                if let Some(reader) = reader.and_then(|slot| self.state.readers.get_mut(slot)) {
                    reader.position = event.sequence_number();
                }
            }
            Err(_) => self.unreadable += 1,
        }
    }

    /// Adds an event. Returns the slot of the reader whom it concerns.
    pub fn add(&mut self, event: DomainEvent) -> Option<u32> {
        match event {
            DomainEvent::BookCopyAddedToCirculation(added) => {
                self.removed.remove(&added.book);
                if !self.copies.contains_key(&added.book) {
                    self.copies.insert(added.book, self.state.copies.insert(Copy::new(added.book)));
                }
            }
            DomainEvent::BookCopyRemovedFromCirculation(removed) => {
                let copy = self.copies.remove(&removed.book)?;
                self.state.forget_copy(copy);
                self.removed.insert(removed.book);
            }
            DomainEvent::ReaderRegistered(registered) => {
                self.former.remove(&registered.reader);
                if !self.readers.contains_key(&registered.reader) {
                    let reader = Reader::new(registered.reader, registered.name);
                    self.readers.insert(registered.reader, self.state.readers.insert(reader));
                }
                return self.readers.get(&registered.reader).copied();
            }
            DomainEvent::ReaderContractCanceled(canceled) => {
                let reader = self.readers.remove(&canceled.reader)?;
                let former = self.state.forget_reader(reader)?;
                self.former.insert(former.id, former.name);
            }
            DomainEvent::BookCopyLentToReader(lent) => {
                return self.move_copy(lent.book, lent.reader, None);
            }
            DomainEvent::BookCopyReturnedByReader(returned) => {
                let holder = self.readers.get(&returned.reader).copied();
                return self.move_copy(returned.book, returned.reader, holder);
            }
            _ => {}
        }
        None
    }

    /// Records that a copy, which `holder` has, is lent to a reader or returned by them. Returns
    /// the slot of the reader.
    fn move_copy(&mut self, book: BookId, reader: ReaderId, holder: Option<u32>) -> Option<u32> {
        let slots = self.copies.get(&book).copied().zip(self.readers.get(&reader).copied());
        let is_sound =
            |(copy, _)| self.state.copies.get(copy).map(|copy| copy.holder) == Some(holder);
        let Some((copy, slot)) = slots.filter(|slots| is_sound(*slots)) else {
            self.doubtful.insert((book, reader));
            return None;
        };
        match holder {
            Some(_) => self.state.give_back(copy),
            None => self.state.lend(copy, slot),
        }
        Some(slot)
    }
}

/// The highest exponent.
const MAX_SKEW: f64 = 2.0;
/// The number of events between two updates of the progress.
const PROGRESS_INTERVAL: u64 = 5_000;

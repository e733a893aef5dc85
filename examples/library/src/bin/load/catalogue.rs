use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use library::domain::BookId;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// The state of each copy according to the replies that the clients received.
///
/// It can be out of date: a client updates an entry only after its command has completed, and the
/// commands of other clients run in between.
#[derive(Default)]
pub(crate) struct Catalogue(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    books: [Vec<BookId>; 3],
    indexes: HashMap<BookId, (CopyState, usize)>,
}

/// The state of a copy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum CopyState {
    /// A reader has it.
    Lent,
    /// It is in circulation and not lent.
    OnShelf,
    /// It is no longer in circulation.
    Removed,
}

impl Catalogue {
    /// Adds a copy, or changes its state.
    pub(crate) fn set(&self, book: BookId, state: CopyState) {
        self.entries().set(book, state);
    }

    /// Returns a random copy in a state.
    pub(crate) fn any(&self, state: CopyState, rng: &mut StdRng) -> Option<BookId> {
        self.any_of_latest(state, usize::MAX, rng)
    }

    /// Returns a random copy of the `count` copies that entered a state last.
    pub(crate) fn any_of_latest(
        &self,
        state: CopyState,
        count: usize,
        rng: &mut StdRng,
    ) -> Option<BookId> {
        let entries = self.entries();
        let books = &entries.books[state as usize];
        books[books.len().saturating_sub(count)..].choose(rng).copied()
    }

    /// Returns the number of copies in circulation.
    pub(crate) fn in_circulation(&self) -> usize {
        let entries = self.entries();
        let states = [CopyState::Lent, CopyState::OnShelf];
        states.map(|state| entries.books[state as usize].len()).iter().sum()
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn set(&mut self, book: BookId, state: CopyState) {
        if let Some((old, index)) = self.indexes.remove(&book) {
            let books = &mut self.books[old as usize];
            books.swap_remove(index);
            if let Some(moved) = books.get(index) {
                self.indexes.insert(*moved, (old, index));
            }
        }
        let books = &mut self.books[state as usize];
        self.indexes.insert(book, (state, books.len()));
        books.push(book);
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_copy_is_found_only_in_its_latest_state() {
        let mut rng = StdRng::seed_from_u64(1);
        let catalogue = Catalogue::default();
        let books: [BookId; 3] = [1, 2, 3].map(|number| Uuid::from_u128(number).into());

        for book in books {
            catalogue.set(book, CopyState::OnShelf);
        }
        catalogue.set(books[0], CopyState::Lent);
        catalogue.set(books[2], CopyState::Removed);

        assert_eq!(catalogue.any(CopyState::Lent, &mut rng), Some(books[0]));
        assert_eq!(catalogue.any(CopyState::OnShelf, &mut rng), Some(books[1]));
        assert_eq!(catalogue.any(CopyState::Removed, &mut rng), Some(books[2]));
        assert_eq!(catalogue.in_circulation(), 2);
    }

    #[test]
    fn any_of_the_latest_one_is_the_last_copy() {
        let mut rng = StdRng::seed_from_u64(1);
        let catalogue = Catalogue::default();
        let books: Vec<BookId> = (1..=9).map(|number| Uuid::from_u128(number).into()).collect();

        for book in &books {
            catalogue.set(*book, CopyState::OnShelf);
        }

        let latest = catalogue.any_of_latest(CopyState::OnShelf, 1, &mut rng);
        assert_eq!(latest, books.last().copied());
    }
}

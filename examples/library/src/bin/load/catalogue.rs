use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use library::domain::BookId;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// Knows where each copy is, as far as the clients were told.
///
/// It may be mistaken, as a catalogue is: between two clients a copy changes its place before its
/// entry does.
#[derive(Default)]
pub(crate) struct Catalogue(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    places: [Vec<BookId>; 3],
    indexes: HashMap<BookId, (Place, usize)>,
}

/// Says where a copy is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    /// A reader has it.
    Lent,
    /// It waits for a reader.
    OnShelf,
    /// It is no longer in circulation.
    Removed,
}

impl Catalogue {
    /// Puts a copy somewhere.
    pub(crate) fn put(&self, book: BookId, place: Place) {
        self.entries().put(book, place);
    }

    /// Returns any copy at a place.
    pub(crate) fn any(&self, place: Place, rng: &mut StdRng) -> Option<BookId> {
        self.among_last(place, usize::MAX, rng)
    }

    /// Returns any of the copies that came last to a place.
    pub(crate) fn among_last(
        &self,
        place: Place,
        count: usize,
        rng: &mut StdRng,
    ) -> Option<BookId> {
        let entries = self.entries();
        let books = &entries.places[place as usize];
        books[books.len().saturating_sub(count)..].choose(rng).copied()
    }

    /// Returns how many copies are in circulation.
    pub(crate) fn in_circulation(&self) -> usize {
        let entries = self.entries();
        [Place::Lent, Place::OnShelf].map(|place| entries.places[place as usize].len()).iter().sum()
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn put(&mut self, book: BookId, place: Place) {
        if let Some((before, index)) = self.indexes.remove(&book) {
            let books = &mut self.places[before as usize];
            books.swap_remove(index);
            if let Some(moved) = books.get(index) {
                self.indexes.insert(*moved, (before, index));
            }
        }
        let books = &mut self.places[place as usize];
        self.indexes.insert(book, (place, books.len()));
        books.push(book);
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn finds_a_copy_only_where_it_was_put_last() {
        let mut rng = StdRng::seed_from_u64(1);
        let catalogue = Catalogue::default();
        let books: [BookId; 3] = [1, 2, 3].map(|number| Uuid::from_u128(number).into());

        for book in books {
            catalogue.put(book, Place::OnShelf);
        }
        catalogue.put(books[0], Place::Lent);
        catalogue.put(books[2], Place::Removed);

        assert_eq!(catalogue.any(Place::Lent, &mut rng), Some(books[0]));
        assert_eq!(catalogue.any(Place::OnShelf, &mut rng), Some(books[1]));
        assert_eq!(catalogue.any(Place::Removed, &mut rng), Some(books[2]));
        assert_eq!(catalogue.in_circulation(), 2);
    }

    #[test]
    fn prefers_what_came_last_where_asked_to() {
        let mut rng = StdRng::seed_from_u64(1);
        let catalogue = Catalogue::default();
        let books: Vec<BookId> = (1..=9).map(|number| Uuid::from_u128(number).into()).collect();

        for book in &books {
            catalogue.put(*book, Place::OnShelf);
        }

        assert_eq!(catalogue.among_last(Place::OnShelf, 1, &mut rng), books.last().copied());
    }
}

//! Choices for loans, returns and questions about loans.

use library::commands::{LendBookCopyToReader, MAX_LOANS, ReturnBookCopyFromReader};
use library::domain::{BookId, OccurredAt, ReaderId};
use library::queries::BooksLentByReader;
use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IteratorRandom;

use super::generate;
use super::operation::{Browse, Operation, Request};
use super::state::{Reader, State};
use crate::plan::{Act, Aim, Crowd, Intention};

impl State {
    /// Chooses what the reader of a visit does. A reader who has nothing to return borrows a copy.
    /// If no copy is on the shelf, a reader returns one.
    pub(super) fn lending(
        &mut self,
        intention: &Intention,
        random: &mut SmallRng,
    ) -> Vec<Operation> {
        let visit = intention.visit;
        let operation = match (intention.crowd, intention.aim, intention.act) {
            (Crowd::OneCard, ..) => return self.two_loans(visit, random),
            (Crowd::OneCopy, ..) => return self.contended_loan(visit, random),
            (_, Aim::Success, Act::Return) => {
                self.give_any_back(visit, random).or_else(|| self.borrow(visit, random))
            }
            (_, Aim::Success, _) => {
                self.borrow(visit, random).or_else(|| self.give_any_back(visit, random))
            }
            (_, Aim::Idempotent, Act::Return) => {
                self.return_twice(visit, random).or_else(|| self.borrow_twice(visit, random))
            }
            (_, Aim::Idempotent, _) => {
                self.borrow_twice(visit, random).or_else(|| self.return_twice(visit, random))
            }
            (_, Aim::Rejected, Act::Return) => self.rejected_return(visit, random),
            (_, Aim::Rejected, _) => self.rejected_loan(visit, random),
        };
        operation.into_iter().collect()
    }

    /// Asks for the loans of the reader of a visit.
    pub(super) fn browse(&mut self, visit: u32, random: &mut SmallRng) -> Option<Operation> {
        let reader = self.visitor(visit, random, |_| true)?;
        let visitor = self.readers.get(reader)?;
        let loans = visitor.loans.iter().filter_map(|loan| Some(self.copies.get(*loan)?.id));
        let browse = Browse {
            query: BooksLentByReader { reader: visitor.id },
            position: visitor.position,
            loans: loans.collect(),
        };
        Some(Operation::new(Request::Browse(browse), Aim::Success))
    }

    /// Returns the reader of a visit. If there is none yet, or not a suitable one, another reader
    /// takes over the visit.
    fn visitor(
        &mut self,
        visit: u32,
        random: &mut SmallRng,
        is_suitable: impl Fn(&Reader) -> bool,
    ) -> Option<u32> {
        if let Some((slot, id)) = self.visits.get(&visit).copied()
            && let Some(reader) = self.readers.get(slot)
            && reader.id == id
        {
            if is_suitable(reader) {
                return Some(slot);
            }
            let next = self.free_reader(random, is_suitable)?;
            self.leave(visit);
            return self.enter(visit, next);
        }
        let first = self.free_reader(random, is_suitable)?;
        self.enter(visit, first)
    }

    fn free_reader(
        &self,
        random: &mut SmallRng,
        is_suitable: impl Fn(&Reader) -> bool,
    ) -> Option<u32> {
        self.readers.choose(random, |reader| !reader.is_busy && is_suitable(reader))
    }

    fn enter(&mut self, visit: u32, slot: u32) -> Option<u32> {
        let reader = self.readers.get_mut(slot)?;
        reader.is_busy = true;
        self.visits.insert(visit, (slot, reader.id));
        Some(slot)
    }

    /// Ends a visit. Its reader can come again.
    pub(super) fn leave(&mut self, visit: u32) {
        if let Some((slot, id)) = self.visits.remove(&visit)
            && let Some(reader) = self.readers.get_mut(slot)
            && reader.id == id
        {
            reader.is_busy = false;
        }
    }

    fn borrow(&mut self, visit: u32, random: &mut SmallRng) -> Option<Operation> {
        let copy = self.copies.choose(random, |copy| copy.is_on_shelf())?;
        let reader = self.visitor(visit, random, |reader| reader.loans.len() < MAX_LOANS)?;
        self.loan(copy, reader, Aim::Success)
    }

    fn give_any_back(&mut self, visit: u32, random: &mut SmallRng) -> Option<Operation> {
        let reader = self.visitor(visit, random, |reader| !reader.loans.is_empty())?;
        let is_free = |copy: &&u32| self.copies.get(**copy).is_some_and(|copy| !copy.is_busy);
        let copy = *self.readers.get(reader)?.loans.iter().filter(is_free).choose(random)?;
        let (book, id) = (self.reserve(copy)?, self.readers.get(reader)?.id);
        Some(Operation {
            copy: Some(copy),
            reader: Some(reader),
            ..give_back(book, id, Aim::Success)
        })
    }

    /// Two loans with the card of one reader at the same time.
    fn two_loans(&mut self, visit: u32, random: &mut SmallRng) -> Vec<Operation> {
        let mut operations = Vec::new();
        for loans in [MAX_LOANS - 1, MAX_LOANS] {
            let is_suitable = |reader: &Reader| reader.loans.len() < loans;
            if let Some(copy) = self.copies.choose(random, |copy| copy.is_on_shelf())
                && let Some(reader) = self.visitor(visit, random, is_suitable)
            {
                operations.extend(self.loan(copy, reader, Aim::Success));
            }
        }
        operations
    }

    /// Two loans of the same copy at the same time.
    fn contended_loan(&mut self, visit: u32, random: &mut SmallRng) -> Vec<Operation> {
        let is_suitable = |reader: &Reader| reader.loans.len() < MAX_LOANS;
        let Some(copy) = self.copies.choose(random, |copy| copy.is_on_shelf()) else {
            return Vec::new();
        };
        let Some(reader) = self.visitor(visit, random, is_suitable) else { return Vec::new() };
        let first = self.loan(copy, reader, Aim::Success);
        let second = self.free_reader(random, is_suitable).and_then(|rival| {
            self.readers.get_mut(rival)?.is_busy = true;
            Some(Operation { is_brief: true, ..self.loan(copy, rival, Aim::Success)? })
        });
        let is_contended = second.is_some();
        let operations = first.into_iter().chain(second);
        operations.map(|operation| Operation { is_contended, ..operation }).collect()
    }

    /// A loan of a copy that the reader has already.
    fn borrow_twice(&mut self, visit: u32, random: &mut SmallRng) -> Option<Operation> {
        let reader = self.visitor(visit, random, |reader| !reader.loans.is_empty())?;
        let copy = *self.readers.get(reader)?.loans.last()?;
        if self.copies.get(copy)?.is_busy {
            return None;
        }
        self.loan(copy, reader, Aim::Idempotent)
    }

    /// A return of a copy that the reader has returned already.
    fn return_twice(&mut self, visit: u32, random: &mut SmallRng) -> Option<Operation> {
        let reader = self.visitor(visit, random, |reader| reader.returned.is_some())?;
        let visitor = self.readers.get(reader)?;
        let ((slot, book), id) = (visitor.returned?, visitor.id);
        let copy = self.copies.get(slot).filter(|copy| copy.id == book);
        if copy.is_some_and(|copy| copy.is_busy || copy.holder == Some(reader)) {
            return None;
        }
        let copy = copy.map(|_| slot);
        copy.and_then(|copy| self.reserve(copy));
        Some(Operation { copy, reader: Some(reader), ..give_back(book, id, Aim::Idempotent) })
    }

    /// A loan that the rules forbid: another reader has the copy, it was removed, or the card is no
    /// longer valid.
    fn rejected_loan(&mut self, visit: u32, random: &mut SmallRng) -> Option<Operation> {
        match random.random_range(0..10) {
            0..2 if !self.removed.is_empty() => {
                let reader =
                    self.visitor(visit, random, |reader| reader.loans.len() < MAX_LOANS)?;
                let book = self.take_removed(random)?;
                let loan = lend(book, self.readers.get(reader)?.id, Aim::Rejected);
                Some(Operation { reader: Some(reader), removed: Some(book), ..loan })
            }
            2..5 if !self.former.is_empty() => {
                let copy = self.copies.choose(random, |copy| copy.is_on_shelf())?;
                let former = self.take_former(random)?;
                let loan = lend(self.reserve(copy)?, former.0, Aim::Rejected);
                Some(Operation { copy: Some(copy), former: Some(former), ..loan })
            }
            _ => {
                let reader =
                    self.visitor(visit, random, |reader| reader.loans.len() < MAX_LOANS)?;
                let is_taken = |holder: Option<u32>| holder.is_some_and(|holder| holder != reader);
                let copy =
                    self.copies.choose(random, |copy| !copy.is_busy && is_taken(copy.holder))?;
                self.loan(copy, reader, Aim::Rejected)
            }
        }
    }

    /// A return that the rules forbid: the copy is not lent to this reader, or the number of the
    /// card is wrong.
    fn rejected_return(&mut self, visit: u32, random: &mut SmallRng) -> Option<Operation> {
        let copy = self.copies.choose_any(random, |copy| copy.is_on_shelf())?;
        if random.random_bool(0.3) {
            let unknown = generate::reader(random).0;
            let returned = give_back(self.reserve(copy)?, unknown, Aim::Rejected);
            return Some(Operation { copy: Some(copy), ..returned });
        }
        let reader = self.visitor(visit, random, |_| true)?;
        let id = self.readers.get(reader)?.id;
        let returned = give_back(self.reserve(copy)?, id, Aim::Rejected);
        Some(Operation { copy: Some(copy), reader: Some(reader), ..returned })
    }

    fn loan(&mut self, copy: u32, reader: u32, aim: Aim) -> Option<Operation> {
        let (book, id) = (self.reserve(copy)?, self.readers.get(reader)?.id);
        Some(Operation { copy: Some(copy), reader: Some(reader), ..lend(book, id, aim) })
    }

    /// Reserves a copy. Returns its id.
    pub(super) fn reserve(&mut self, copy: u32) -> Option<BookId> {
        let reserved = self.copies.get_mut(copy)?;
        reserved.is_busy = true;
        Some(reserved.id)
    }

    /// Takes a copy out of those that are not in circulation, so that no other operation uses it.
    pub(super) fn take_removed(&mut self, random: &mut SmallRng) -> Option<BookId> {
        let count = self.removed.len();
        (count > 0).then(|| self.removed.swap_remove(random.random_range(0..count)))
    }

    /// Takes a reader out of the former ones, so that no other operation uses it.
    pub(super) fn take_former(&mut self, random: &mut SmallRng) -> Option<(ReaderId, String)> {
        let count = self.former.len();
        (count > 0).then(|| self.former.swap_remove(random.random_range(0..count)))
    }
}

fn lend(book: BookId, reader: ReaderId, aim: Aim) -> Operation {
    let occurred_at = OccurredAt::now();
    Operation::new(Request::Lend(LendBookCopyToReader { book, reader, occurred_at }), aim)
}

fn give_back(book: BookId, reader: ReaderId, aim: Aim) -> Operation {
    let occurred_at = OccurredAt::now();
    Operation::new(Request::Return(ReturnBookCopyFromReader { book, reader, occurred_at }), aim)
}

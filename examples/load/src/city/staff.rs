//! Choices for the staff: changes of the circulation and of contracts.

use library::commands::{AddBookCopy, CancelReaderContract, RegisterReader, RemoveBookCopy};
use library::domain::{BookId, OccurredAt, ReaderId};
use rand::RngExt;
use rand::rngs::SmallRng;

use super::generate;
use super::operation::{Operation, Request};
use super::state::{Copy, Reader, State};
use crate::plan::Aim;

impl State {
    /// Chooses a copy to add.
    pub(super) fn add(&mut self, aim: Aim, random: &mut SmallRng) -> Option<Operation> {
        let (new, data) = generate::book(random);
        let add = |book| {
            let occurred_at = OccurredAt::now();
            Operation::new(Request::Add(AddBookCopy { book, data, occurred_at }), aim)
        };
        if aim == Aim::Success {
            let removed = random.random_bool(ADDED_AGAIN).then(|| self.take_removed(random));
            return Some(add(removed.flatten().unwrap_or(new)));
        }
        let copy = self.copies.choose_any(random, Copy::is_on_shelf)?;
        Some(Operation { copy: Some(copy), ..add(self.reserve(copy)?) })
    }

    /// Chooses a copy to remove. If none is on the shelf, a new one is added.
    pub(super) fn remove(&mut self, aim: Aim, random: &mut SmallRng) -> Option<Operation> {
        let found = match aim {
            Aim::Idempotent => {
                if let Some(book) = self.take_removed(random) {
                    return Some(Operation { removed: Some(book), ..remove(book, aim) });
                }
                return self.add(aim, random);
            }
            Aim::Rejected if random.random_bool(MISTYPED) => {
                return Some(remove(generate::book(random).0, aim));
            }
            Aim::Rejected => {
                self.copies.choose(random, |copy| copy.holder.is_some() && !copy.is_busy)
            }
            Aim::Success => self.copies.choose_any(random, Copy::is_on_shelf),
        };
        match (found, aim) {
            (Some(copy), _) => {
                Some(Operation { copy: Some(copy), ..remove(self.reserve(copy)?, aim) })
            }
            (None, Aim::Rejected) => Some(remove(generate::book(random).0, aim)),
            (None, _) => self.add(Aim::Success, random),
        }
    }

    /// Chooses a reader to register.
    pub(super) fn register(&mut self, aim: Aim, random: &mut SmallRng) -> Option<Operation> {
        if aim == Aim::Success {
            let former = random.random_bool(REGISTERED_AGAIN).then(|| self.take_former(random));
            let (id, name) = former.flatten().unwrap_or_else(|| generate::reader(random));
            return Some(register(id, name, aim));
        }
        let reader = self.readers.choose_any(random, |reader| !reader.is_busy)?;
        let registered = self.occupy(reader)?;
        let operation = register(registered.id, registered.name.clone(), aim);
        Some(Operation { reader: Some(reader), is_brief: true, ..operation })
    }

    /// Chooses a reader whose contract ends. If all have loans, a new one is registered.
    pub(super) fn cancel(&mut self, aim: Aim, random: &mut SmallRng) -> Option<Operation> {
        let found = match aim {
            Aim::Idempotent => {
                if let Some(former) = self.take_former(random) {
                    return Some(Operation {
                        former: Some(former.clone()),
                        ..cancel(former.0, aim)
                    });
                }
                return self.register(aim, random);
            }
            Aim::Rejected if random.random_bool(MISTYPED) => {
                return Some(cancel(generate::reader(random).0, aim));
            }
            Aim::Rejected => self
                .readers
                .choose_any(random, |reader| !reader.is_busy && !reader.loans.is_empty()),
            Aim::Success => {
                self.readers.choose_any(random, |reader| !reader.is_busy && reader.loans.is_empty())
            }
        };
        match (found, aim) {
            (Some(reader), _) => {
                let operation = cancel(self.occupy(reader)?.id, aim);
                Some(Operation { reader: Some(reader), is_brief: true, ..operation })
            }
            (None, Aim::Rejected) => Some(cancel(generate::reader(random).0, aim)),
            (None, _) => self.register(Aim::Success, random),
        }
    }

    fn occupy(&mut self, reader: u32) -> Option<&Reader> {
        let occupied = self.readers.get_mut(reader)?;
        occupied.is_busy = true;
        Some(occupied)
    }
}

fn remove(book: BookId, aim: Aim) -> Operation {
    Operation::new(Request::Remove(RemoveBookCopy { book, occurred_at: OccurredAt::now() }), aim)
}

fn register(reader: ReaderId, name: String, aim: Aim) -> Operation {
    let occurred_at = OccurredAt::now();
    Operation::new(Request::Register(RegisterReader { reader, name, occurred_at }), aim)
}

fn cancel(reader: ReaderId, aim: Aim) -> Operation {
    let occurred_at = OccurredAt::now();
    Operation::new(Request::Cancel(CancelReaderContract { reader, occurred_at }), aim)
}

/// The share of added copies that were in circulation before.
const ADDED_AGAIN: f64 = 0.1;
/// The share of registered readers whose earlier contract has ended.
const REGISTERED_AGAIN: f64 = 0.2;
/// The share of mistakes that are a wrong number.
const MISTYPED: f64 = 0.3;

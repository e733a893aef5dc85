//! The books and readers, and the state of each as far as the generator knows it.

pub mod generate;
mod lending;
mod of_log;
mod operation;
mod slots;
mod staff;
mod state;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, MutexGuard, PoisonError};

use rand::SeedableRng;
use rand::rngs::SmallRng;

use self::state::{Copy, Reader, State};
use crate::plan::{Act, Aim, Intention};

pub use self::of_log::{CityBuilder, Skew, SkewError};
pub use self::operation::{Browse, End, Operation, Request};

/// The books and readers, shared by all clients.
///
/// What the city knows comes from the answers of the store. Two commands about the same reader or
/// the same copy do not run at the same time, unless the plan wants them to contend.
#[derive(Debug)]
pub struct City {
    state: Mutex<State>,
    /// A number that differs between loads of the same log, so that the same plan does not give new
    /// copies and readers the same ids again.
    salt: u64,
}

impl City {
    /// Chooses who does what for an intention. The chosen readers and copies are occupied until
    /// [`end`](Self::end).
    ///
    /// Returns no operation if the city has no suitable reader or book.
    pub fn begin(&self, intention: &Intention) -> Vec<Operation> {
        let mut random = SmallRng::seed_from_u64(intention.draw ^ self.salt);
        let mut state = self.state();
        let Intention { visit, act, aim, .. } = *intention;
        let operation = match act {
            Act::Borrow | Act::Return => return state.lending(intention, &mut random),
            Act::Add => state.add(aim, &mut random),
            Act::Browse => state.browse(visit, &mut random),
            Act::Cancel => state.cancel(aim, &mut random),
            Act::List(list) => Some(Operation::new(Request::List(list), Aim::Success)),
            Act::Register => state.register(aim, &mut random),
            Act::Remove => state.remove(aim, &mut random),
        };
        operation.into_iter().collect()
    }

    /// Records how a command ended.
    pub fn end(&self, operation: Operation, end: End) {
        self.state().end(operation, end);
    }

    /// Ends the visit of an intention, if the intention is its last step.
    pub fn leave(&self, intention: &Intention) {
        if intention.ends_visit {
            self.state().leave(intention.visit);
        }
    }

    /// Returns the numbers of copies in circulation and of registered readers.
    pub fn size(&self) -> (usize, usize) {
        let state = self.state();
        (state.copies.len(), state.readers.len())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn end(&mut self, operation: Operation, end: End) {
        self.release(&operation);
        if let (End::Success { position } | End::Rejected { position }, Some(reader)) =
            (end, operation.reader.and_then(|reader| self.readers.get_mut(reader)))
        {
            reader.position = reader.position.max(position);
        }
        if !operation.expects(end) {
            // Another program has changed the library, or the outcome is not known.
            operation.copy.and_then(|copy| self.forget_copy(copy));
            operation.reader.and_then(|reader| self.forget_reader(reader));
            return;
        }
        self.removed.extend(operation.removed);
        self.former.extend(operation.former);
        let End::Success { position } = end else { return };
        match (operation.request, operation.copy, operation.reader) {
            (Request::Add(add), ..) => {
                self.copies.insert(Copy::new(add.book));
            }
            (Request::Cancel(_), _, Some(reader)) => self.end_contract(reader),
            (Request::Lend(_), Some(copy), Some(reader)) => self.lend(copy, reader),
            (Request::Register(register), ..) => {
                // The reader may have had copies under an earlier contract.
                let reader = Reader::new(register.reader, register.name);
                self.readers.insert(Reader { position, ..reader });
            }
            (Request::Remove(_), Some(copy), _) => self.remove_copy(copy),
            (Request::Return(_), Some(copy), _) => self.give_back(copy),
            _ => {}
        }
    }

    fn release(&mut self, operation: &Operation) {
        if let Some(copy) = operation.copy.and_then(|copy| self.copies.get_mut(copy)) {
            copy.is_busy = false;
        }
        if operation.is_brief
            && let Some(reader) = operation.reader.and_then(|reader| self.readers.get_mut(reader))
        {
            reader.is_busy = false;
        }
    }
}

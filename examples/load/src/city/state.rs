use std::collections::HashMap;

use eddyline::SequenceNumber;
use library::domain::{BookId, ReaderId};

use super::slots::Slots;

/// The books and readers, and the visits of readers.
#[derive(Debug)]
pub struct State {
    pub copies: Slots<Copy>,
    pub readers: Slots<Reader>,
    /// Copies that are no longer in circulation.
    pub removed: Vec<BookId>,
    /// Readers whose contracts have ended.
    pub former: Vec<(ReaderId, String)>,
    /// The slot and the id of the reader of each visit.
    pub visits: HashMap<u32, (u32, ReaderId)>,
}

/// A copy in circulation.
#[derive(Clone, Debug)]
pub struct Copy {
    pub id: BookId,
    /// The slot of the reader who has it.
    pub holder: Option<u32>,
    /// Whether a command about it is running. Another one would contend with it.
    pub is_busy: bool,
}

/// A registered reader.
#[derive(Clone, Debug)]
pub struct Reader {
    pub id: ReaderId,
    pub name: String,
    /// The slots of the copies that the reader has.
    pub loans: Vec<u32>,
    /// The slot and the id of the copy that the reader returned last.
    pub returned: Option<(u32, BookId)>,
    /// A position at or above that of the reader's last event.
    pub position: SequenceNumber,
    /// Whether the reader is on a visit, or a command about the reader is running.
    pub is_busy: bool,
}

impl Copy {
    pub fn new(id: BookId) -> Self {
        Self { id, holder: None, is_busy: false }
    }

    pub fn is_on_shelf(&self) -> bool {
        self.holder.is_none() && !self.is_busy
    }
}

impl Reader {
    pub fn new(id: ReaderId, name: String) -> Self {
        let (loans, returned, position) = (Vec::new(), None, SequenceNumber::ZERO);
        Self { id, name, loans, returned, position, is_busy: false }
    }
}

impl State {
    pub fn new(copy_skew: f64, reader_skew: f64) -> Self {
        Self {
            copies: Slots::new(copy_skew),
            readers: Slots::new(reader_skew),
            removed: Vec::new(),
            former: Vec::new(),
            visits: HashMap::new(),
        }
    }

    /// Records that a reader has a copy.
    pub fn lend(&mut self, copy: u32, reader: u32) {
        if let (Some(lent), Some(borrower)) =
            (self.copies.get_mut(copy), self.readers.get_mut(reader))
            && lent.holder.is_none()
        {
            lent.holder = Some(reader);
            borrower.loans.push(copy);
        }
    }

    /// Records that a copy is back on the shelf.
    pub fn give_back(&mut self, copy: u32) {
        let Some(returned) = self.copies.get_mut(copy) else { return };
        let (id, holder) = (returned.id, returned.holder.take());
        if let Some(holder) = holder.and_then(|holder| self.readers.get_mut(holder)) {
            holder.loans.retain(|loan| *loan != copy);
            holder.returned = Some((copy, id));
        }
    }

    /// Removes a copy from circulation.
    pub fn remove_copy(&mut self, copy: u32) {
        if let Some(removed) = self.forget_copy(copy) {
            self.removed.push(removed.id);
            if self.removed.len() > MAX_FORMER {
                self.removed.swap_remove(0);
            }
        }
    }

    /// Ends the contract of a reader.
    pub fn end_contract(&mut self, reader: u32) {
        if let Some(former) = self.forget_reader(reader) {
            self.former.push((former.id, former.name));
            if self.former.len() > MAX_FORMER {
                self.former.swap_remove(0);
            }
        }
    }

    /// Forgets a copy whose state is not known any more. No operation uses it again.
    pub fn forget_copy(&mut self, copy: u32) -> Option<Copy> {
        let forgotten = self.copies.remove(copy)?;
        if let Some(holder) = forgotten.holder.and_then(|holder| self.readers.get_mut(holder)) {
            holder.loans.retain(|loan| *loan != copy);
        }
        Some(forgotten)
    }

    /// Forgets a reader whose state is not known any more, and the copies that the reader has. No
    /// operation uses them again.
    pub fn forget_reader(&mut self, reader: u32) -> Option<Reader> {
        let forgotten = self.readers.remove(reader)?;
        for loan in &forgotten.loans {
            self.copies.remove(*loan);
        }
        Some(forgotten)
    }
}

/// The largest number of removed copies and of former readers that the city remembers.
const MAX_FORMER: usize = 100_000;

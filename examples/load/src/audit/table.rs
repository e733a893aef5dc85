use std::collections::HashMap;

use eddyline::SequenceNumber;
use jiff::Timestamp;
use uuid::Uuid;

use crate::replies::{Content, ContentBuilder};

/// A row that the log implies.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Row {
    /// The time that orders the rows.
    pub since: Timestamp,
    /// The position of the event of the row. It orders rows with the same time.
    pub position: SequenceNumber,
    /// The hash of its text.
    pub hash: u64,
}

/// The rows of an answer, by the book or the reader that a row is about. The sum of their hashes is
/// kept up, so that an answer can be checked at any position of the log.
#[derive(Debug, Default)]
pub struct Table {
    rows: HashMap<Uuid, Row>,
    sum: u64,
}

impl Table {
    /// Inserts a row, or replaces the one with this key.
    pub fn insert(&mut self, key: Uuid, row: Row) {
        self.remove(key);
        self.sum = self.sum.wrapping_add(row.hash);
        self.rows.insert(key, row);
    }

    /// Removes the row with this key, if there is one.
    pub fn remove(&mut self, key: Uuid) -> Option<Row> {
        let row = self.rows.remove(&key)?;
        self.sum = self.sum.wrapping_sub(row.hash);
        Some(row)
    }

    /// Returns the contents without the order of the rows.
    pub fn unordered(&self) -> Content {
        let rows = self.rows.len() as u64;
        Content { rows, count: rows, total: rows, sum: self.sum, order: 0 }
    }

    /// Returns the rows in their order.
    pub fn ordered(&self) -> Vec<Row> {
        let mut rows: Vec<_> = self.rows.values().copied().collect();
        rows.sort_unstable();
        rows
    }
}

/// Returns the contents of an answer with these rows.
pub fn content(rows: &[Row]) -> Content {
    let mut builder = ContentBuilder::default();
    rows.iter().for_each(|row| builder.add(row.hash));
    builder.build()
}

use std::hash::{DefaultHasher, Hasher};

/// The contents of an answer, as numbers: two answers with the same rows in the same order have the
/// same contents.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Content {
    /// The number of rows.
    pub rows: u64,
    /// The number of rows that the answer itself states.
    pub count: u64,
    /// The number of rows without a limit that the answer itself states.
    pub total: u64,
    /// The sum of the hashes of the rows. It does not depend on their order, so that it can be kept
    /// up while rows come and go.
    pub sum: u64,
    /// The hash of the hashes of the rows, in their order.
    pub order: u64,
}

/// A [`Content`] to which rows are added.
#[derive(Clone, Debug, Default)]
pub struct ContentBuilder {
    rows: u64,
    sum: u64,
    order: DefaultHasher,
}

impl ContentBuilder {
    /// Adds the next row, by its hash.
    pub fn add(&mut self, row: u64) {
        self.rows += 1;
        self.sum = self.sum.wrapping_add(row);
        self.order.write_u64(row);
    }

    /// Returns the contents of an answer that states no numbers itself.
    pub fn build(self) -> Content {
        let Self { rows, sum, order } = self;
        Content { rows, count: rows, total: rows, sum, order: order.finish() }
    }
}

/// Returns the hash of the text of a row.
pub fn row_hash(row: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(row.as_bytes());
    hasher.finish()
}

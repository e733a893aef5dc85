use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The id of a copy of a book.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct BookId(Uuid);

/// The id of a reader.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct ReaderId(Uuid);

impl From<Uuid> for BookId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl From<Uuid> for ReaderId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl From<BookId> for Uuid {
    fn from(book: BookId) -> Self {
        book.0
    }
}

impl From<ReaderId> for Uuid {
    fn from(reader: ReaderId) -> Self {
        reader.0
    }
}

impl fmt::Display for BookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ReaderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

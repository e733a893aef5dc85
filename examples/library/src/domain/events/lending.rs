use serde::{Deserialize, Serialize};

use crate::domain::{BookId, OccurredAt, ReaderId};

/// The loan of a copy to a reader.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BookCopyLentToReader {
    /// The copy.
    #[serde(rename = "BookID")]
    pub book: BookId,
    /// The borrower.
    #[serde(rename = "ReaderID")]
    pub reader: ReaderId,
    /// The time of the event.
    pub occurred_at: OccurredAt,
}

/// The return of a copy by its borrower.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BookCopyReturnedByReader {
    /// The copy.
    #[serde(rename = "BookID")]
    pub book: BookId,
    /// The reader.
    #[serde(rename = "ReaderID")]
    pub reader: ReaderId,
    /// The time of the event.
    pub occurred_at: OccurredAt,
}

/// A rejected attempt to lend a copy to a reader.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LendingBookToReaderFailed {
    /// The copy.
    #[serde(rename = "BookID")]
    pub book: BookId,
    /// The reader.
    #[serde(rename = "ReaderID")]
    pub reader: ReaderId,
    /// The reason.
    pub failure_info: String,
    /// The time of the event.
    pub occurred_at: OccurredAt,
}

/// A rejected attempt to return a copy.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReturningBookFromReaderFailed {
    /// The copy.
    #[serde(rename = "BookID")]
    pub book: BookId,
    /// The reader.
    #[serde(rename = "ReaderID")]
    pub reader: ReaderId,
    /// The reason.
    pub failure_info: String,
    /// The time of the event.
    pub occurred_at: OccurredAt,
}

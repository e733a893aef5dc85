use serde::{Deserialize, Serialize};

use crate::domain::{BookId, OccurredAt, ReaderId};

/// Says that a reader took a copy home.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BookCopyLentToReader {
    /// The copy.
    #[serde(rename = "BookID")]
    pub book: BookId,
    /// Who took it.
    #[serde(rename = "ReaderID")]
    pub reader: ReaderId,
    /// When.
    pub occurred_at: OccurredAt,
}

/// Says that a reader brought a copy back.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BookCopyReturnedByReader {
    /// The copy.
    #[serde(rename = "BookID")]
    pub book: BookId,
    /// Who brought it.
    #[serde(rename = "ReaderID")]
    pub reader: ReaderId,
    /// When.
    pub occurred_at: OccurredAt,
}

/// Says that a reader asked for a copy and did not get it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LendingBookToReaderFailed {
    /// The copy.
    #[serde(rename = "BookID")]
    pub book: BookId,
    /// Who asked for it.
    #[serde(rename = "ReaderID")]
    pub reader: ReaderId,
    /// Why not.
    pub failure_info: String,
    /// When.
    pub occurred_at: OccurredAt,
}

/// Says that a reader brought a copy that could not be taken back.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReturningBookFromReaderFailed {
    /// The copy.
    #[serde(rename = "BookID")]
    pub book: BookId,
    /// Who brought it.
    #[serde(rename = "ReaderID")]
    pub reader: ReaderId,
    /// Why not.
    pub failure_info: String,
    /// When.
    pub occurred_at: OccurredAt,
}

use serde::{Deserialize, Serialize};

use crate::domain::{OccurredAt, ReaderId};

/// Says that a reader may borrow from now on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReaderRegistered {
    /// The reader.
    #[serde(rename = "ReaderID")]
    pub reader: ReaderId,
    /// How the reader is called.
    pub name: String,
    /// When.
    pub occurred_at: OccurredAt,
}

/// Says that a reader may no longer borrow.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReaderContractCanceled {
    /// The reader.
    #[serde(rename = "ReaderID")]
    pub reader: ReaderId,
    /// When.
    pub occurred_at: OccurredAt,
}

/// Says that a reader's contract should have been canceled and was not.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CancelingReaderContractFailed {
    /// The reader.
    #[serde(rename = "ReaderID")]
    pub reader: ReaderId,
    /// Why not.
    pub failure_info: String,
    /// When.
    pub occurred_at: OccurredAt,
}

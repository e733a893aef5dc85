use serde::{Deserialize, Serialize};

use crate::domain::{OccurredAt, ReaderId};

/// The registration of a reader. The reader may borrow copies from then on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReaderRegistered {
    /// The reader.
    #[serde(rename = "ReaderID")]
    pub reader: ReaderId,
    /// The name of the reader.
    pub name: String,
    /// The time of the event.
    pub occurred_at: OccurredAt,
}

/// The cancellation of a reader's contract. The reader may no longer borrow copies.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReaderContractCanceled {
    /// The reader.
    #[serde(rename = "ReaderID")]
    pub reader: ReaderId,
    /// The time of the event.
    pub occurred_at: OccurredAt,
}

/// A rejected attempt to cancel a reader's contract.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CancelingReaderContractFailed {
    /// The reader.
    #[serde(rename = "ReaderID")]
    pub reader: ReaderId,
    /// The reason.
    pub failure_info: String,
    /// The time of the event.
    pub occurred_at: OccurredAt,
}

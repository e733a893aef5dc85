use serde::{Deserialize, Serialize};

use crate::domain::{BookId, OccurredAt};

/// The bibliographic data of a book.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BookData {
    /// The International Standard Book Number.
    #[serde(rename = "ISBN")]
    pub isbn: String,
    /// The title.
    pub title: String,
    /// The authors, as one text.
    pub authors: String,
    /// The edition, as named by the publisher.
    pub edition: String,
    /// The publisher.
    pub publisher: String,
    /// The year of publication.
    pub publication_year: u16,
}

/// The addition of a copy to circulation. Readers can borrow it from then on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BookCopyAddedToCirculation {
    /// The copy.
    #[serde(rename = "BookID")]
    pub book: BookId,
    /// The book of which it is a copy.
    #[serde(flatten)]
    pub data: BookData,
    /// The time of the event.
    pub occurred_at: OccurredAt,
}

/// The removal of a copy from circulation. Readers can no longer borrow it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BookCopyRemovedFromCirculation {
    /// The copy.
    #[serde(rename = "BookID")]
    pub book: BookId,
    /// The time of the event.
    pub occurred_at: OccurredAt,
}

/// A rejected attempt to remove a copy from circulation.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RemovingBookFromCirculationFailed {
    /// The copy.
    #[serde(rename = "BookID")]
    pub book: BookId,
    /// The reason.
    pub failure_info: String,
    /// The time of the event.
    pub occurred_at: OccurredAt,
}

use serde::{Deserialize, Serialize};

use crate::domain::{BookId, OccurredAt};

/// Describes a book, as the catalogue does.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BookData {
    /// The International Standard Book Number.
    #[serde(rename = "ISBN")]
    pub isbn: String,
    /// The title.
    pub title: String,
    /// The authors, in one line.
    pub authors: String,
    /// The edition, as the publisher calls it.
    pub edition: String,
    /// The publisher.
    pub publisher: String,
    /// The year it was published in.
    pub publication_year: u16,
}

/// Says that a copy can be borrowed from now on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BookCopyAddedToCirculation {
    /// The copy.
    #[serde(rename = "BookID")]
    pub book: BookId,
    /// What it is a copy of.
    #[serde(flatten)]
    pub data: BookData,
    /// When.
    pub occurred_at: OccurredAt,
}

/// Says that a copy can no longer be borrowed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BookCopyRemovedFromCirculation {
    /// The copy.
    #[serde(rename = "BookID")]
    pub book: BookId,
    /// When.
    pub occurred_at: OccurredAt,
}

/// Says that a copy should have been removed and was not.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RemovingBookFromCirculationFailed {
    /// The copy.
    #[serde(rename = "BookID")]
    pub book: BookId,
    /// Why not.
    pub failure_info: String,
    /// When.
    pub occurred_at: OccurredAt,
}

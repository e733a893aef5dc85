use serde::{Deserialize, Serialize};

use super::{Asked, Figures, Report};

/// An error of a text that is not a report of this version.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The text is not a report of a load.
    #[error("not the JSON report of a load")]
    Invalid(#[source] serde_json::Error),

    /// The report was written in another version of the format.
    #[error(
        "the report has version {found} of the format and this program reads version {supported}: \
         read it with the program that wrote it, or run the load again",
        supported = Report::VERSION
    )]
    Version {
        /// The version of the report.
        found: u32,
    },
}

impl Report {
    /// The version of the format that this program writes and reads.
    pub const VERSION: u32 = 1;

    /// Returns the report as JSON, with the values that are computed from it.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(&self.document()).expect(SERIALIZABLE)
    }

    /// Returns the same JSON without line breaks.
    pub(super) fn to_compact_json(&self) -> String {
        serde_json::to_string(&self.document()).expect(SERIALIZABLE)
    }

    /// Parses a report. The values that are computed from it are ignored.
    ///
    /// # Errors
    ///
    /// [`ReportError::Version`] if the report has another version of the format, and
    /// [`ReportError::Invalid`] if the text is not a report.
    pub fn from_json(text: &str) -> Result<Self, ReportError> {
        let Versioned { version } = serde_json::from_str(text).map_err(ReportError::Invalid)?;
        match version {
            Self::VERSION => serde_json::from_str(text).map_err(ReportError::Invalid),
            found => Err(ReportError::Version { found }),
        }
    }

    fn document(&self) -> Document<'_> {
        let got = self.got();
        let difference = got.minus(&self.asked);
        Document { report: self, got, difference, figures: self.figures() }
    }
}

/// A report with the values that are computed from it.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    report: &'a Report,
    got: Asked,
    /// What was got minus what was asked for.
    difference: Asked,
    figures: Figures,
}

/// The part of a report that all versions have.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

const SERIALIZABLE: &str = "all keys of a report are texts or numbers, and memory can be written";

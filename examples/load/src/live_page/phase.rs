use serde::Serialize;

/// What the load generator does.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It starts servers, or imports books and readers.
    #[default]
    Preparing,
    /// Operations run.
    Running,
    /// The load has ended, and the log is being compared with the answers.
    Auditing,
    /// The report is written.
    Ended,
    /// An error ended the load generator.
    Failed,
}

impl Phase {
    /// Returns whether the load generator ends after it.
    pub fn is_last(self) -> bool {
        match self {
            Self::Ended | Self::Failed => true,
            Self::Auditing | Self::Preparing | Self::Running => false,
        }
    }
}

use crate::Error;

/// A setting of a policy, which has names in the builder and in the environment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Setting {
    Attempts,
    AttemptTimeout,
    BaseDelay,
    Budget,
    BudgetRatio,
    Deadline,
    EscalateAfter,
    Jitter,
    MaxDelay,
    Multiplier,
}

/// An invalid setting, before it is known by which name it was set.
#[derive(Debug)]
pub struct Invalid {
    pub setting: Setting,
    reason: String,
}

impl Setting {
    /// Returns the name of the builder's method.
    pub fn name(self) -> &'static str {
        match self {
            Self::Attempts => "attempts",
            Self::AttemptTimeout => "attempt_timeout",
            Self::BaseDelay => "base_delay",
            Self::Budget => "budget",
            Self::BudgetRatio => "budget ratio",
            Self::Deadline => "deadline",
            Self::EscalateAfter => "escalate_after",
            Self::Jitter => "jitter",
            Self::MaxDelay => "max_delay",
            Self::Multiplier => "multiplier",
        }
    }

    /// Returns the names of the environment variables. The first that is set counts.
    pub fn variables(self) -> &'static [&'static str] {
        match self {
            Self::Attempts => &["EDDYLINE_MAX_RETRIES", "MAX_RETRIES"],
            Self::AttemptTimeout => &["EDDYLINE_RETRY_ATTEMPT_TIMEOUT"],
            Self::BaseDelay => &["EDDYLINE_RETRY_BASE_DELAY", "RETRY_BASE_DELAY"],
            Self::Budget => &["EDDYLINE_RETRY_BUDGET"],
            Self::BudgetRatio => &["EDDYLINE_RETRY_BUDGET_RATIO"],
            Self::Deadline => &["EDDYLINE_RETRY_DEADLINE"],
            Self::EscalateAfter => &["EDDYLINE_RETRY_ESCALATE_AFTER"],
            Self::Jitter => &["EDDYLINE_RETRY_JITTER"],
            Self::MaxDelay => &["EDDYLINE_RETRY_MAX_DELAY", "RETRY_MAX_DELAY"],
            Self::Multiplier => &["EDDYLINE_RETRY_MULTIPLIER"],
        }
    }

    /// Returns the error of the setting.
    pub fn invalid(self, reason: impl Into<String>) -> Invalid {
        Invalid { setting: self, reason: reason.into() }
    }
}

impl Invalid {
    /// Converts the error, with the name by which the setting was set.
    pub fn named(self, name: &'static str) -> Error {
        Error::invalid_config(name, self.reason)
    }
}

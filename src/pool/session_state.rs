use std::time::Duration;

/// The current use of a connection. A pool reuses a connection only if it is idle.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum SessionState {
    #[default]
    Idle,
    /// The answer of a request outside of a transaction has not been received completely.
    Reading,
    /// A transaction is open, or about to be opened.
    InTransaction {
        /// The timeout of each statement in the transaction.
        statement_timeout: Duration,
        /// Whether the answer of a request has not been received completely.
        is_reading: bool,
    },
    /// The connection must not be reused: it ended, the store no longer waits for an answer, or the
    /// server is no longer the primary. No other state follows.
    Discarded,
}

impl SessionState {
    pub(super) fn is_idle(self) -> bool {
        self == Self::Idle
    }

    /// Returns the timeout of each statement in the open transaction, if there is one.
    pub(super) fn transaction_timeout(self) -> Option<Duration> {
        match self {
            Self::InTransaction { statement_timeout, .. } => Some(statement_timeout),
            Self::Idle | Self::Reading | Self::Discarded => None,
        }
    }

    pub(super) fn start_reading(&mut self) {
        *self = match *self {
            Self::Idle | Self::Reading => Self::Reading,
            Self::InTransaction { statement_timeout, .. } => {
                Self::InTransaction { statement_timeout, is_reading: true }
            }
            Self::Discarded => Self::Discarded,
        }
    }

    pub(super) fn finish_reading(&mut self) {
        *self = match *self {
            Self::Idle | Self::Reading => Self::Idle,
            Self::InTransaction { statement_timeout, .. } => {
                Self::InTransaction { statement_timeout, is_reading: false }
            }
            Self::Discarded => Self::Discarded,
        }
    }

    /// Enters a transaction, or sets another timeout for the statements of the open one.
    pub(super) fn enter_transaction(&mut self, statement_timeout: Duration) {
        *self = match *self {
            Self::Idle => Self::InTransaction { statement_timeout, is_reading: false },
            Self::Reading => Self::InTransaction { statement_timeout, is_reading: true },
            Self::InTransaction { is_reading, .. } => {
                Self::InTransaction { statement_timeout, is_reading }
            }
            Self::Discarded => Self::Discarded,
        }
    }

    pub(super) fn leave_transaction(&mut self) {
        *self = match *self {
            Self::InTransaction { is_reading: false, .. } => Self::Idle,
            Self::InTransaction { is_reading: true, .. } => Self::Reading,
            state => state,
        }
    }

    pub(super) fn discard(&mut self) {
        *self = Self::Discarded;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(1);

    #[test]
    fn an_unfinished_read_outlasts_the_transaction_around_it() {
        let mut state = SessionState::Idle;

        state.enter_transaction(TIMEOUT);
        state.start_reading();
        state.leave_transaction();

        assert_eq!(state, SessionState::Reading);
        state.finish_reading();
        assert!(state.is_idle());
    }

    #[test]
    fn a_discarded_connection_stays_discarded() {
        let mut state = SessionState::Idle;

        state.enter_transaction(TIMEOUT);
        state.discard();
        state.leave_transaction();
        state.start_reading();
        state.finish_reading();
        state.enter_transaction(TIMEOUT);

        assert_eq!(state, SessionState::Discarded);
        assert_eq!(state.transaction_timeout(), None);
    }
}

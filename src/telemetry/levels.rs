use std::sync::Arc;
use std::time::Duration;

/// A part of a store whose state metrics show when they are collected.
///
/// Any thread may ask for the state at any time, also while the store is dropped. So an
/// implementation waits for no lock that is held for longer than a few steps, and contains nothing
/// whose drop needs a runtime.
#[cfg_attr(not(feature = "telemetry"), expect(dead_code))]
pub(crate) trait Observable<T>: Send + Sync {
    fn state(&self) -> T;
}

/// The connections of a pool at one time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct PoolLevels {
    /// The limit of open connections.
    pub(crate) max: u32,
    /// Open connections that no caller has.
    pub(crate) idle: u32,
    /// Open connections that callers have.
    pub(crate) used: u32,
    /// Callers that wait for a connection.
    pub(crate) waiting: u32,
}

/// The appends that wait to be sent at one time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct QueueLevel {
    pub(crate) waiting: usize,
}

/// How far a replica lies behind what its store knows of, at one time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ReplicaLevels {
    pub(crate) name: Arc<str>,
    /// The positions that its last answer did not show.
    pub(crate) lag: u64,
    /// For how long the store has known of the first of these positions.
    pub(crate) delay: Duration,
}

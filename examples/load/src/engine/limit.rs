use serde::{Deserialize, Serialize};

/// The highest rate that keeps a goal, measured several times.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Limit {
    /// The goal: the 99th percentile of the latency of commands from their intended start, in
    /// milliseconds.
    pub goal_ms: f64,
    /// The length of a window, in seconds.
    pub window_seconds: f64,
    /// The rounds.
    pub rounds: Vec<LimitRound>,
}

/// A search for the highest rate.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct LimitRound {
    /// The highest rate that kept the goal, in operations per second. `None` if none did.
    pub knee: Option<f64>,
    /// The rates that were tried, in this order.
    pub steps: Vec<LimitStep>,
}

/// A rate that was tried for one window.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct LimitStep {
    /// The rate that was asked, in operations per second.
    pub asked: f64,
    /// The rate that was achieved.
    pub achieved: f64,
    /// The 99th percentile of the latency of commands, in milliseconds.
    pub p99_ms: f64,
    /// Whether it kept the goal.
    pub is_kept: bool,
}

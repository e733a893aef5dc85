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
    pub highest_rate: Option<f64>,
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

impl Limit {
    /// Returns the median of the highest rates of the rounds, or `None` if no rate kept the goal.
    pub fn median(&self) -> Option<f64> {
        let rates = self.sorted_rates();
        let (low, high) = (rates.len().checked_sub(1)? / 2, rates.len() / 2);
        Some(f64::midpoint(rates[low], rates[high]))
    }

    /// Returns the lowest and the highest result of a round, or `None` if no rate kept the goal.
    pub fn spread(&self) -> Option<(f64, f64)> {
        let rates = self.sorted_rates();
        Some((*rates.first()?, *rates.last()?))
    }

    fn sorted_rates(&self) -> Vec<f64> {
        let mut rates: Vec<f64> =
            self.rounds.iter().filter_map(|round| round.highest_rate).collect();
        rates.sort_by(f64::total_cmp);
        rates
    }
}

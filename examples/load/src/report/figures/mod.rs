//! The values that are computed from a report. Its text, JSON and page show the same ones.

mod gap;
mod got;
mod servers;
mod windows;

use serde::Serialize;

use crate::report::Report;
use crate::report::statistics::median;
use crate::tally::Outcomes;

pub use self::gap::ServiceGap;
pub use self::servers::{ServerFigures, Wait};
pub use self::windows::{Rates, WindowFigures};

/// Values that are computed from a report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// The model of the load and the shape of its rate, in words.
    pub model: String,
    /// Where the servers are from.
    pub owner: String,
    /// The mean of the rate that was asked for, in operations per second. `None` if the loop is
    /// closed.
    pub rate_asked: Option<f64>,
    /// The operations that ended, per second.
    pub rate_achieved: f64,
    /// How all commands ended.
    pub commands: Outcomes,
    /// How all queries ended.
    pub queries: Outcomes,
    /// The operations that were due and did not begin.
    pub not_begun: u64,
    /// The mean number of events on which a command was decided. `None` if none ended.
    pub events_per_command: Option<f64>,
    /// The windows of the load.
    pub windows: Vec<WindowFigures>,
    /// The transactions in which events were stored. `None` if they are not known.
    pub batches: Option<BatchFigures>,
    /// The servers, in the order of the observations. Names that only answers contain follow.
    pub servers: Vec<ServerFigures>,
    /// What active sessions of the servers waited for, the most frequent first.
    pub waits: Vec<Wait>,
    /// The gap in service after each fault, in the order of the faults. `None` if the load has no
    /// window that shows it.
    pub gaps: Vec<Option<ServiceGap>>,
    /// The highest rate. `None` if it was not looked for, or no round found one.
    pub limit: Option<LimitFigures>,
    /// Whether the audit has no findings. `None` until it has ended.
    pub is_clean: Option<bool>,
    /// The text of the audit, by line.
    pub audit: Vec<String>,
}

/// The transactions in which events were stored.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BatchFigures {
    /// The mean number of events of a transaction.
    pub events_per_transaction: f64,
    /// The number of events of the largest transaction.
    pub largest: u64,
}

/// The highest rates that kept the goal.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LimitFigures {
    /// The highest rate of each round that found one, in operations per second.
    pub highest_rates: Vec<f64>,
    /// Their median.
    pub median: f64,
    /// The difference of the largest and the smallest, as a share of the median.
    pub spread: f64,
}

impl Report {
    /// Returns the values that are computed from the report, except those of [`Report::got`].
    pub fn figures(&self) -> Figures {
        let load = &self.load;
        let commands = self.outcomes(|group| !group.is_query());
        let audit = self.audit.as_ref().map(ToString::to_string).unwrap_or_default();
        Figures {
            model: self.settings.describe_model(),
            owner: self.settings.describe_owner(),
            rate_asked: self.rate_asked(),
            rate_achieved: per_unit(load.ended as f64, load.seconds).unwrap_or(0.0),
            events_per_command: windows::events_per_command(load.events_read, &commands),
            commands,
            queries: self.outcomes(|group| group.is_query()),
            not_begun: load.due.saturating_sub(load.begun),
            windows: self.window_figures(),
            batches: self.batch_figures(),
            servers: self.server_figures(),
            waits: self.waits(),
            gaps: self.service_gaps(),
            limit: self.limit_figures(),
            is_clean: self.audit.as_ref().map(|audit| audit.is_clean()),
            audit: audit.lines().map(str::to_owned).collect(),
        }
    }

    /// Returns the mean of the rate that was asked for.
    fn rate_asked(&self) -> Option<f64> {
        let windows = || self.settings.rates.iter().zip(&self.load.windows);
        let seconds: f64 = windows().map(|(_, window)| window.seconds).sum();
        per_unit(windows().map(|(rate, window)| rate * window.seconds).sum(), seconds)
    }

    fn batch_figures(&self) -> Option<BatchFigures> {
        let batches = self.servers.batches.as_ref()?;
        Some(BatchFigures {
            events_per_transaction: per_unit(batches.events as f64, batches.transactions as f64)?,
            largest: batches.sizes.keys().next_back().copied().unwrap_or(0),
        })
    }

    fn limit_figures(&self) -> Option<LimitFigures> {
        let rounds = &self.limit.as_ref()?.rounds;
        let highest_rates: Vec<f64> =
            rounds.iter().filter_map(|round| round.highest_rate).collect();
        let median = median(&highest_rates)?;
        let largest = highest_rates.iter().copied().fold(f64::MIN, f64::max);
        let smallest = highest_rates.iter().copied().fold(f64::MAX, f64::min);
        let spread = per_unit(largest - smallest, median)?;
        Some(LimitFigures { highest_rates, median, spread })
    }
}

/// Divides, if the divisor is positive.
fn per_unit(value: f64, units: f64) -> Option<f64> {
    (units > 0.0).then(|| value / units)
}

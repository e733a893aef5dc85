use std::collections::BTreeMap;

use serde::Serialize;

use super::per_unit;
use crate::report::Report;
use crate::tally::{Outcomes, Window};

/// Values of a window. Rates are per second.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WindowFigures {
    /// The middle of the window, in seconds since the start of the load.
    pub at: f64,
    /// The rate that was asked for. `None` if the loop is closed.
    pub rate_asked: Option<f64>,
    /// The rate of the operations whose intended time was in the window.
    pub rate_due: f64,
    /// The rate of the operations that ended.
    pub rate_achieved: f64,
    /// How the commands ended.
    pub commands: Rates,
    /// The mean number of events on which a command was decided. `None` if none ended.
    pub events_per_command: Option<f64>,
    /// The rounds that decisions lost.
    pub lost_rounds: f64,
    /// The attempts that were repeated after a transient error.
    pub retries: f64,
    /// The answers to queries, by the server that gave them.
    pub reads_by_server: BTreeMap<String, f64>,
}

/// The commands that ended in each way, per second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rates {
    /// Those that stored their event.
    pub success: f64,
    /// Those that had nothing to change.
    pub idempotent: f64,
    /// Those that the rules forbade.
    pub rejected: f64,
    /// Those whose last attempt ended with a conflict.
    pub conflict: f64,
    /// Those that failed.
    pub error: f64,
}

impl Report {
    /// Returns the values of each window.
    pub(super) fn window_figures(&self) -> Vec<WindowFigures> {
        let rates = self.settings.rates.iter().copied().map(Some).chain(std::iter::repeat(None));
        self.load.windows.iter().zip(rates).map(|(window, rate)| figures(window, rate)).collect()
    }
}

fn figures(window: &Window, rate_asked: Option<f64>) -> WindowFigures {
    let rate = |count: u64| per_unit(count as f64, window.seconds).unwrap_or(0.0);
    let reads = window.reads_by_server.iter();
    WindowFigures {
        at: window.start + window.seconds / 2.0,
        rate_asked,
        rate_due: rate(window.due),
        rate_achieved: rate(window.ended),
        commands: rates(&window.command_outcomes, rate),
        events_per_command: events_per_command(window.events_read, &window.command_outcomes),
        lost_rounds: rate(window.lost_rounds),
        retries: rate(window.retries),
        reads_by_server: reads.map(|(server, count)| (server.clone(), rate(*count))).collect(),
    }
}

fn rates(outcomes: &Outcomes, rate: impl Fn(u64) -> f64) -> Rates {
    let Outcomes { success, idempotent, rejected, conflict, error } = *outcomes;
    Rates {
        success: rate(success),
        idempotent: rate(idempotent),
        rejected: rate(rejected),
        conflict: rate(conflict),
        error: rate(error),
    }
}

/// Returns the mean number of events on which a command was decided. The commands that failed are
/// left out: nothing is known of their histories.
pub(super) fn events_per_command(events: u64, commands: &Outcomes) -> Option<f64> {
    per_unit(events as f64, commands.answered() as f64)
}

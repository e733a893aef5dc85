use serde::Serialize;

use crate::faults::Mark;
use crate::report::Report;
use crate::tally::Window;

/// The longest time without a successful command after a fault. A gap that begins after a later
/// fault belongs to that one, and to each earlier fault that has not been undone by then.
///
/// It is made of whole windows. Commands may also have stopped within the window before it and
/// the window after it, so that the true gap is longer by less than twice the resolution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ServiceGap {
    /// When it began, in seconds since the start of the load. `None` if there is no gap.
    pub from: Option<f64>,
    /// Its length. Zero if a command succeeded in each window.
    pub seconds: f64,
    /// The length of a window.
    pub resolution: f64,
}

impl Report {
    /// Returns the gap after each fault.
    pub(super) fn service_gaps(&self) -> Vec<Option<ServiceGap>> {
        let runs = runs_without_success(&self.load.windows);
        let resolution = self.load.windows.iter().map(|window| window.seconds).fold(0.0, f64::max);
        let gap = |mark: &Mark| {
            let at = mark.at;
            if !self.load.windows.iter().any(|window| end(window) > at) {
                return None;
            }
            let has_later_fault = |run: &Run| {
                self.faults.iter().any(|other| at < other.at && other.at < run.first_end)
            };
            let none = ServiceGap { from: None, seconds: 0.0, resolution };
            let is_in_force = |run: &Run| mark.until.is_none_or(|until| until > run.from);
            let is_own = |run: &Run| is_in_force(run) || !has_later_fault(run);
            let own = runs.iter().filter(|run| run.to > at && is_own(run));
            let gaps = own.map(|run| ServiceGap {
                from: Some(run.from),
                seconds: run.to - run.from,
                resolution,
            });
            Some(gaps.fold(none, |longest, gap| match gap.seconds > longest.seconds {
                true => gap,
                false => longest,
            }))
        };
        self.faults.iter().map(gap).collect()
    }
}

/// Windows that follow each other, without a successful command.
struct Run {
    from: f64,
    /// The end of the first window.
    first_end: f64,
    to: f64,
}

/// Returns the longest runs of windows in which operations were due or pending and no command
/// succeeded.
fn runs_without_success(windows: &[Window]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut is_running = false;
    for window in windows {
        let has_work = window.due > 0 || window.pending > 0;
        let is_without = has_work && window.command_outcomes.success == 0;
        let (from, to) = (window.start, end(window));
        match runs.last_mut() {
            Some(run) if is_running && is_without => run.to = to,
            _ if is_without => runs.push(Run { from, first_end: to, to }),
            _ => {}
        }
        is_running = is_without;
    }
    runs
}

fn end(window: &Window) -> f64 {
    window.start + window.seconds
}

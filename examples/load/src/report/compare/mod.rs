//! The comparison of two reports.

mod series;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use self::series::{Series, series};
use super::statistics::{Interval, Mean};
use super::{Report, ReportError};

/// The differences of a report to another one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The differences in how the two loads were run, which may be the reason for differences in
    /// the figures.
    pub warnings: Vec<String>,
    /// Whether each window was compared with the window of the other load at the same time. This
    /// requires the same plan and windows.
    pub is_paired: bool,
    /// The figures.
    pub figures: Vec<Compared>,
}

/// The difference of a figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// What the figure is.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Its mean over the windows of the first load: the geometric mean of latencies, the arithmetic
    /// mean of other figures. `None` if it was not measured.
    pub first: Option<f64>,
    /// Its mean over the windows of the second load.
    pub second: Option<f64>,
    /// The difference of the second to the first, in percent of the first. `None` if the first is
    /// zero or one was not measured.
    pub difference_percent: Option<f64>,
    /// The interval that contains the true difference with a probability of 95 %, in percent of the
    /// mean of the first load.
    pub interval_percent: Option<(f64, f64)>,
    /// What the difference shows.
    pub verdict: Verdict,
}

/// What a difference shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The second load has a higher value.
    Higher,
    /// The second load has a lower value.
    Lower,
    /// The difference may be due to chance.
    NoDifferenceShown,
    /// The figure has one value for the whole load, which says nothing about chance.
    NotTested,
    /// The loads have too few windows, or windows that depend too much on each other.
    TooFewWindows,
}

/// Compares a report with a second one.
///
/// The first and the last window are left out: in the first one, operations begin and few end, and
/// the last one may be shorter than the others.
///
/// # Errors
///
/// [`ReportError::Version`] if one of them has another version of the format than this program.
pub fn compare(first: &Report, second: &Report) -> Result<Comparison, ReportError> {
    for report in [first, second] {
        if report.version != Report::VERSION {
            return Err(ReportError::Version { found: report.version });
        }
    }
    let is_paired = can_be_paired(first, second);
    let pairs = series(first).into_iter().zip(series(second));
    let mut figures: Vec<Compared> =
        pairs.map(|(one, other)| compare_series(&one, &other, is_paired)).collect();
    figures.extend(compare_cpu(first, second));
    Ok(Comparison { warnings: warnings(first, second), is_paired, figures })
}

/// Returns whether windows at the same time had the same intentions.
fn can_be_paired(first: &Report, second: &Report) -> bool {
    let lengths = |report: &Report| -> Vec<f64> {
        let windows = &report.load.windows;
        windows.iter().take(windows.len().saturating_sub(1)).map(|one| one.seconds).collect()
    };
    first.settings.plan == second.settings.plan
        && first.settings.model == "open"
        && second.settings.model == "open"
        && lengths(first) == lengths(second)
}

fn compare_series(first: &Series, second: &Series, is_paired: bool) -> Compared {
    let (pairs_first, pairs_second) = first.common(second);
    let (one, other) = match is_paired {
        true => (pairs_first, pairs_second),
        false => (first.measured(), second.measured()),
    };
    let means = (mean(&one), mean(&other));
    let interval = match is_paired {
        true => paired_interval(&one, &other),
        false => interval(&one, &other),
    };
    let verdict = match interval {
        None => Verdict::TooFewWindows,
        Some(Interval { low, .. }) if low > 0.0 => Verdict::Higher,
        Some(Interval { high, .. }) if high < 0.0 => Verdict::Lower,
        Some(_) => Verdict::NoDifferenceShown,
    };
    let percent = |difference: f64| first.scale.percent(difference, means.0?);
    Compared {
        name: first.name,
        unit: first.unit,
        first: means.0.map(|mean| first.scale.mean(mean)),
        second: means.1.map(|mean| first.scale.mean(mean)),
        difference_percent: means.1.zip(means.0).and_then(|(two, one)| percent(two - one)),
        interval_percent: interval.and_then(|one| Some((percent(one.low)?, percent(one.high)?))),
        verdict,
    }
}

/// Returns the interval of the difference of the means of two series.
fn interval(first: &[f64], second: &[f64]) -> Option<Interval> {
    Some(tested_mean(second)?.minus(&tested_mean(first)?))
}

/// Returns the interval of the mean of the differences at the same time.
fn paired_interval(first: &[f64], second: &[f64]) -> Option<Interval> {
    let differences: Vec<f64> = second.iter().zip(first).map(|(two, one)| two - one).collect();
    Some(tested_mean(&differences)?.interval())
}

/// Returns the mean of a series that is long enough for a test.
fn tested_mean(values: &[f64]) -> Option<Mean> {
    let mean = Mean::of(values).filter(|_| values.len() >= MIN_WINDOWS)?;
    (mean.effective >= MIN_EFFECTIVE_WINDOWS).then_some(mean)
}

/// Compares the CPU time per operation, of which a load has only one value for each process.
fn compare_cpu(first: &Report, second: &Report) -> Vec<Compared> {
    let untested = |name, one: Option<f64>, other: Option<f64>| Compared {
        name,
        unit: "us",
        first: one,
        second: other,
        difference_percent: difference_percent(one, other),
        interval_percent: None,
        verdict: Verdict::NotTested,
    };
    let servers = |report: &Report| -> Option<f64> {
        let servers = report.figures().servers;
        servers.iter().filter_map(|server| server.cpu_per_operation_us).reduce(|a, b| a + b)
    };
    vec![
        untested(
            "CPU time per operation, generator with eddyline",
            first.cpu_per_operation_us,
            second.cpu_per_operation_us,
        ),
        untested("CPU time per operation, all servers", servers(first), servers(second)),
    ]
}

fn difference_percent(first: Option<f64>, second: Option<f64>) -> Option<f64> {
    let (first, second) = (first.filter(|first| *first != 0.0)?, second?);
    Some((second - first) / first * 100.0)
}

/// Returns what differs in how the loads were run.
fn warnings(first: &Report, second: &Report) -> Vec<String> {
    let (one, other) = (&first.settings, &second.settings);
    let mut warnings = Vec::new();
    let mut check = |name: &str, one: String, other: String| {
        if one != other {
            warnings.push(format!("{name} differs: {one} before, {other} after"));
        }
    };
    check("the machine", first.machine.describe(), second.machine.describe());
    check("the model", one.describe_model(), other.describe_model());
    check("the number of clients", one.clients.to_string(), other.clients.to_string());
    check("the plan", one.plan.clone(), other.plan.clone());
    check("the version of eddyline", one.eddyline.clone(), other.eddyline.clone());
    check("the servers' owner", one.describe_owner(), other.describe_owner());
    check("the list of servers", first.describe_servers(), second.describe_servers());
    check("the list of faults", first.describe_faults(), second.describe_faults());
    let names: BTreeSet<_> = one.options.keys().chain(other.options.keys()).collect();
    for name in names.into_iter().filter(|name| !HARMLESS_OPTIONS.contains(&name.as_str())) {
        let value = |options: &BTreeMap<String, String>| {
            options.get(name).cloned().unwrap_or_else(|| "not set".to_owned())
        };
        check(&format!("the option {name}"), value(&one.options), value(&other.options));
    }
    warnings
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The smallest number of windows with a verdict. Fewer windows do not show how much they depend on
/// each other.
pub const MIN_WINDOWS: usize = 20;
/// The smallest number of independent windows that the windows must be worth. With fewer, a strong
/// dependence is often underestimated: in simulations, up to 11 % of equal loads were called
/// different.
const MIN_EFFECTIVE_WINDOWS: f64 = 12.0;
/// The options that do not change the figures, or are compared as settings.
const HARMLESS_OPTIONS: [&str; 4] = ["clients", "html", "json", "write-plan"];

use self::Scale::{Linear, Logarithmic};
use crate::report::Report;
use crate::tally::{Distribution, Window};

/// The values of a figure in each window of a load, without the first and the last window.
pub struct Series {
    /// What the figure is.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// The scale on which its values are compared.
    pub scale: Scale,
    /// The values on this scale. `None` in a window in which it was not measured.
    values: Vec<Option<f64>>,
}

/// A scale on which values are compared.
#[derive(Clone, Copy)]
pub enum Scale {
    /// The values themselves: their mean is the arithmetic mean.
    Linear,
    /// The logarithms of the values: their mean is that of the geometric mean. One window with a
    /// hundred times the usual latency does not hide the difference of all others.
    Logarithmic,
}

impl Scale {
    /// Returns a value on the scale.
    fn of(self, value: f64) -> f64 {
        match self {
            Linear => value,
            Logarithmic => value.ln(),
        }
    }

    /// Returns the value of a mean on the scale.
    pub fn mean(self, mean: f64) -> f64 {
        match self {
            Linear => mean,
            Logarithmic => mean.exp(),
        }
    }

    /// Returns a difference on the scale in percent of a mean on the scale. `None` if that is zero.
    pub fn percent(self, difference: f64, of: f64) -> Option<f64> {
        match self {
            Linear if of == 0.0 => None,
            Linear => Some(difference / of * 100.0),
            Logarithmic => Some(difference.exp_m1() * 100.0),
        }
    }
}

impl Series {
    /// Returns the values that were measured.
    pub fn measured(&self) -> Vec<f64> {
        self.values.iter().copied().flatten().collect()
    }

    /// Returns the values of the windows in which both series were measured.
    pub fn common(&self, other: &Self) -> (Vec<f64>, Vec<f64>) {
        let pairs = self.values.iter().zip(&other.values);
        pairs.filter_map(|(one, other)| Some(((*one)?, (*other)?))).unzip()
    }
}

/// Returns the figures of a report that have a value in each window, always in the same order.
pub fn series(report: &Report) -> Vec<Series> {
    let windows = report.load.windows.get(1..).unwrap_or_default();
    let windows = windows.split_last().map(|(_, windows)| windows).unwrap_or_default();
    FIGURES
        .iter()
        .map(|(name, unit, scale, value)| Series {
            name,
            unit,
            scale: *scale,
            values: windows.iter().map(|one| value(report, one).map(|v| scale.of(v))).collect(),
        })
        .collect()
}

/// Returns the value of a figure in a window, if it was measured.
type Measure = fn(&Report, &Window) -> Option<f64>;

const FIGURES: [(&str, &str, Scale, Measure); 9] = [
    ("rate achieved", "/s", Linear, |_, window| rate(window)),
    ("p50 of commands", "ms", Logarithmic, |_, window| time(&window.latency, |one| one.p50)),
    ("p95 of commands", "ms", Logarithmic, |_, window| time(&window.latency, |one| one.p95)),
    ("p99 of commands", "ms", Logarithmic, |_, window| time(&window.latency, |one| one.p99)),
    ("service p99 of commands", "ms", Logarithmic, |_, window| {
        time(&window.service, |one| one.p99)
    }),
    ("success, of answered commands", "%", Linear, |_, window| success(window)),
    ("lost rounds per 100 commands", "", Linear, |_, window| lost_rounds(window)),
    ("replication lag", "ms", Linear, lag),
    ("queries answered by the primary", "%", Linear, primary_share),
];

fn rate(window: &Window) -> Option<f64> {
    (window.seconds > 0.0).then(|| window.ended as f64 / window.seconds)
}

fn time(distribution: &Distribution, value: fn(&Distribution) -> f64) -> Option<f64> {
    (distribution.count > 0).then(|| value(distribution)).filter(|time| *time > 0.0)
}

fn success(window: &Window) -> Option<f64> {
    let outcomes = &window.command_outcomes;
    percentage(outcomes.success, outcomes.answered())
}

fn lost_rounds(window: &Window) -> Option<f64> {
    let outcomes = &window.command_outcomes;
    percentage(window.lost_rounds, outcomes.answered() + outcomes.conflict + outcomes.error)
}

/// Returns the mean lag of all replicas in a window.
fn lag(report: &Report, window: &Window) -> Option<f64> {
    let end = window.start + window.seconds;
    let samples = report.servers.servers.iter().flat_map(|server| &server.samples);
    let inside = samples.filter(|sample| window.start <= sample.at && sample.at < end);
    let lags: Vec<f64> = inside.filter_map(|sample| sample.lag_ms).collect();
    super::mean(&lags)
}

fn primary_share(report: &Report, window: &Window) -> Option<f64> {
    let primary = report.servers.servers.first()?;
    let reads = window.reads_by_server.get(&primary.name).copied().unwrap_or(0);
    percentage(reads, window.reads_by_server.values().sum())
}

fn percentage(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64 * 100.0)
}

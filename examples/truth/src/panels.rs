//! Each panel of the dashboards, evaluated by Prometheus and from the text of `/metrics`.

use dashboards::{PanelQuery, Variables, panels};

use crate::Failure;
use crate::comparison::Comparisons;
use crate::expression::{Expression, Value, Values};
use crate::prometheus_server::{JOB, PrometheusServer, Sample};
use crate::scrape::Scrape;

/// The beginning of the time over which panels are evaluated.
#[derive(Debug)]
pub struct PanelStart {
    /// The metrics at that time.
    text: Scrape,
    /// Prometheus' time of the last scrape before, in seconds since 1970.
    time: f64,
}

impl PanelStart {
    /// Begins now, while nothing is counted.
    ///
    /// # Errors
    ///
    /// [`Failure`] of Prometheus.
    pub async fn now(prometheus: &PrometheusServer, text: Scrape) -> Result<Self, Failure> {
        prometheus.wait_for_scrape().await?;
        Ok(Self { text, time: prometheus.last_scrape().await? })
    }

    /// Evaluates each panel over the time since then, while nothing is counted any more, and
    /// compares the values.
    ///
    /// # Errors
    ///
    /// [`Failure`] of Prometheus, also for an expression that it refuses.
    pub async fn compare(
        &self,
        prometheus: &PrometheusServer,
        text: &Scrape,
        rows: &mut Comparisons,
    ) -> Result<(), Failure> {
        prometheus.wait_for_scrape().await?;
        // From one scrape to another, so that Prometheus does not extrapolate.
        let now = prometheus.last_scrape().await?;
        let range = format!("{:.0}ms", (now - self.time) * 1e3 + 1.0);
        let times = prometheus.scrape_times(&range, now).await?;
        let (Some(first), Some(last)) = (times.first(), times.last()) else {
            return Err(Failure::Prometheus("has no scrapes".to_owned()));
        };
        let (seconds, growth) = (last - first, text.since(&self.text));
        rows.begin("Panels of the dashboards, by the text of /metrics");
        for panel in panels() {
            let variables = Variables { job: JOB, rate_interval: &range, ..Variables::default() };
            let expression = variables.replace_in(&panel.expression);
            let samples = prometheus.query_at(&expression, now).await?;
            // In the text there are no labels of Prometheus' own.
            let own = Variables { job: ".*", rate_interval: &range, ..Variables::default() };
            let own = Expression::parse(&own.replace_in(&panel.expression));
            let own = own.ok_or_else(|| {
                Failure::Malformed(format!("{} has an expression of another form", panel.title))
            })?;
            self.compare_panel(&panel, &own, (text, &growth), seconds, &samples, rows);
        }
        Ok(())
    }

    fn compare_panel(
        &self,
        panel: &PanelQuery,
        expression: &Expression,
        (text, growth): (&Scrape, &Scrape),
        seconds: f64,
        samples: &[Sample],
        rows: &mut Comparisons,
    ) {
        let what = format!("{}: {} {}", panel.dashboard, panel.title, panel.legend);
        let numbers = samples.iter().filter(|sample| !sample.value.is_nan()).count();
        let shown = format!("{numbers} series");
        if let Some(reason) = reason_for_nothing(panel.title).filter(|_| numbers == 0) {
            return rows.holds(what, format!("may be empty: {reason}"), shown, true);
        }
        let is_announced = expression.sums().iter().all(|sum| sum.existed_in(&self.text, text));
        let is_rate = expression.sums().iter().all(|sum| sum.is_rate);
        if !is_rate || !is_announced {
            let why =
                if is_rate { "has series of events that had not happened" } else { "a level" };
            return rows.holds(what, format!("some series ({why})"), shown, numbers > 0);
        }
        let values = expression.evaluate(growth, seconds);
        let expected = values.values().filter(|value| !value.is_nan()).count();
        let equal = samples.iter().filter(|sample| is_equal(&values, sample)).count();
        rows.holds(
            what,
            format!("{expected} series"),
            format!("{equal} equal of {shown}"),
            numbers > 0 && expected == numbers && equal == samples.len(),
        );
    }
}

impl Value {
    fn is_nan(&self) -> bool {
        matches!(self, Self::Exact(value) if value.is_nan())
    }
}

/// Returns whether a sample has the value that follows from the text.
fn is_equal(values: &Values, sample: &Sample) -> bool {
    let near = |one: f64, other: f64| (one - other).abs() <= NEAR * other.abs() + f64::EPSILON;
    match values.get(&sample.series.labels) {
        Some(Value::Exact(value)) if value.is_nan() => sample.value.is_nan(),
        Some(Value::Exact(value)) => near(sample.value, *value),
        Some(Value::Between(lower, upper)) => {
            (*lower..=*upper).contains(&sample.value)
                || near(sample.value, *lower)
                || near(sample.value, *upper)
        }
        None => false,
    }
}

/// Returns why a panel may have nothing to show.
fn reason_for_nothing(title: &str) -> Option<&'static str> {
    match title {
        "Replica faults per second" => Some("no replica has another history"),
        "Pool timeouts per second" => Some("no pool is exhausted"),
        _ => None,
    }
}

/// How much values may differ that are computed from the same counts. The range of Prometheus is a
/// millisecond longer than the time between the scrapes.
const NEAR: f64 = 1e-3;

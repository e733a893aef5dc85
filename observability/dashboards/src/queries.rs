//! The expressions of all panels, and values for their variables.

use crate::event_store;
use crate::library;
use crate::model::Dashboard;

/// An expression of a panel.
#[derive(Clone, Debug)]
pub struct PanelQuery {
    /// The title of the dashboard.
    pub dashboard: &'static str,
    /// The title of the row.
    pub row: &'static str,
    /// The title of the panel.
    pub title: &'static str,
    /// The expression in PromQL, with variables.
    pub expression: String,
    /// The name of each series, with labels in double braces, as in `{{operation}}`.
    pub legend: &'static str,
    /// Grafana's name of the unit, for instance `s` or `percentunit`.
    pub unit: &'static str,
}

/// Values for the variables of the dashboards. All but the interval are regular expressions that
/// match the whole value of a label.
///
/// ```
/// use dashboards::{Variables, panels};
///
/// let variables = Variables { job: "eddyline", ..Variables::default() };
/// let expression = variables.replace_in(&panels()[0].expression);
///
/// assert!(expression.contains("job=~\"eddyline\", instance=~\".*\""));
/// assert!(expression.ends_with("[1m]))"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Variables<'a> {
    /// The data source's identity. No expression contains it.
    pub datasource: &'a str,
    /// The names of jobs.
    pub job: &'a str,
    /// The instances.
    pub instance: &'a str,
    /// The names of stores.
    pub store: &'a str,
    /// The range of rates, for instance `1m`. It must contain two scrapes at least.
    pub rate_interval: &'a str,
}

/// Returns both dashboards.
pub fn dashboards() -> [Dashboard; 2] {
    [event_store::dashboard(), library::dashboard()]
}

/// Returns the expressions of all panels of both dashboards, in their order.
pub fn panels() -> Vec<PanelQuery> {
    let mut queries = Vec::new();
    for dashboard in dashboards() {
        for row in dashboard.rows {
            for panel in row.panels {
                queries.extend(panel.series.into_iter().map(|series| PanelQuery {
                    dashboard: dashboard.title,
                    row: row.title,
                    title: panel.title,
                    expression: series.expression,
                    legend: series.legend,
                    unit: panel.unit.as_str(),
                }));
            }
        }
    }
    queries
}

impl Variables<'_> {
    /// Returns an expression, or other text of a dashboard, with these values in place of the
    /// variables.
    pub fn replace_in(&self, text: &str) -> String {
        text.replace("$__rate_interval", self.rate_interval)
            .replace("${datasource}", self.datasource)
            .replace("$job", self.job)
            .replace("$instance", self.instance)
            .replace("$store", self.store)
    }
}

impl Default for Variables<'_> {
    /// Selects all series, with rates over one minute.
    fn default() -> Self {
        Self {
            datasource: "prometheus",
            job: ".*",
            instance: ".*",
            store: ".*",
            rate_interval: "1m",
        }
    }
}

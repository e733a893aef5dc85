//! The results of the panels' expressions.

use dashboards::PanelQuery;

/// The result of an expression.
#[derive(Debug)]
pub struct Expected {
    /// The titles of the dashboard and the row.
    row: &'static str,
    /// The title of the panel, and the legend if the panel has several expressions.
    panel: &'static str,
    pub samples: Vec<Sample>,
}

/// A value with its labels.
#[derive(Debug)]
pub struct Sample {
    labels: &'static str,
    pub value: f64,
}

impl Expected {
    /// Returns whether this is the result of an expression.
    pub fn belongs_to(&self, query: &PanelQuery) -> bool {
        let PanelQuery { dashboard, row, title, legend, .. } = query;
        self.row == format!("{dashboard} / {row}")
            && (self.panel == *title || self.panel == format!("{title}: {legend}"))
    }

    /// Returns the values as `promtool` reads them.
    pub fn samples(&self) -> String {
        let sample = |Sample { labels, value }: &Sample| {
            format!("          - labels: '{labels}'\n            value: {value:.6}\n")
        };
        self.samples.iter().map(sample).collect()
    }
}

/// Returns the results of `results.txt`.
pub fn all() -> Vec<Expected> {
    let mut all: Vec<Expected> = Vec::new();
    let mut row = "";
    for line in include_str!("results.txt").lines() {
        if let Some(title) = line.strip_prefix("== ") {
            row = title;
        } else if let Some(panel) = line.strip_prefix("-- ") {
            all.push(Expected { row, panel, samples: Vec::new() });
        } else if line.starts_with('{') {
            let (labels, value) = line.rsplit_once(' ').expect("labels and a value");
            let sample = Sample { labels, value: value.parse().expect("a number") };
            all.last_mut().expect("a panel").samples.push(sample);
        }
    }
    all
}

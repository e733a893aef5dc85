//! Dashboards, rows, panels and series, without the details of Grafana.

/// A dashboard.
#[derive(Clone, Debug)]
pub struct Dashboard {
    /// The identity in Grafana, which links contain.
    pub uid: &'static str,
    /// The title.
    pub title: &'static str,
    /// What the dashboard shows.
    pub description: &'static str,
    /// The counter whose labels are the values of the variables.
    pub announced: &'static str,
    /// The counter with the label `store`.
    pub stores: &'static str,
    /// The rows, the most important first.
    pub rows: Vec<Row>,
}

/// A row of panels under a title.
#[derive(Clone, Debug)]
pub struct Row {
    /// The title.
    pub title: &'static str,
    /// The number of panels side by side: 1, 2, 3 or 4.
    pub columns: usize,
    /// The panels, from left to right and then down.
    pub panels: Vec<Panel>,
}

/// A panel with series over time.
#[derive(Clone, Debug)]
pub struct Panel {
    /// The title.
    pub title: &'static str,
    /// The unit of all its series.
    pub unit: Unit,
    /// What is measured, and from where to where.
    pub meaning: &'static str,
    /// What to do if it is bad.
    pub remedy: &'static str,
    /// The series.
    pub series: Vec<Series>,
    /// Whether the series are drawn on top of each other, because their sum has a meaning.
    pub is_stacked: bool,
}

/// The series that an expression returns.
#[derive(Clone, Debug)]
pub struct Series {
    /// The expression, with the variables of the dashboards.
    pub expression: String,
    /// The name of each series, with labels in double braces.
    pub legend: &'static str,
}

/// The unit of the values of a panel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unit {
    /// A number of things.
    Count,
    /// Things per second for which there is no other unit.
    CountsPerSecond,
    /// Events per second.
    EventsPerSecond,
    /// Operations, calls or statements per second.
    OperationsPerSecond,
    /// Reads per second.
    ReadsPerSecond,
    /// A share from 0 to 1, shown in percent.
    Share,
    /// Seconds.
    Seconds,
}

impl Panel {
    /// Creates a panel without series.
    pub fn new(
        title: &'static str,
        unit: Unit,
        meaning: &'static str,
        remedy: &'static str,
    ) -> Self {
        Self { title, unit, meaning, remedy, series: Vec::new(), is_stacked: false }
    }

    /// Adds the series of an expression.
    #[must_use]
    pub fn series(mut self, legend: &'static str, expression: String) -> Self {
        self.series.push(Series { expression, legend });
        self
    }

    /// Draws the series on top of each other.
    #[must_use]
    pub fn stacked(self) -> Self {
        Self { is_stacked: true, ..self }
    }

    /// Returns the text that Grafana shows for the panel.
    pub fn description(&self) -> String {
        format!("{}\n\n**What to do:** {}", self.meaning, self.remedy)
    }
}

impl Unit {
    /// Returns Grafana's name of the unit.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Count => "short",
            Self::CountsPerSecond => "cps",
            Self::EventsPerSecond => "eps",
            Self::OperationsPerSecond => "ops",
            Self::ReadsPerSecond => "rps",
            Self::Share => "percentunit",
            Self::Seconds => "s",
        }
    }
}

//! The colors of series whose names are known. The same name has the same color in all panels.

/// Returns the names and colors of the series that a legend can produce. Grafana chooses the colors
/// of other names, by a hash of the name.
pub fn known(legend: &str) -> Vec<(&'static str, &'static str)> {
    match legend {
        "{{outcome}}" => OUTCOMES.to_vec(),
        "{{phase}}" => PHASES.to_vec(),
        _ => STATISTICS.iter().copied().filter(|(name, _)| *name == legend).collect(),
    }
}

/// Outcomes of operations, handlers and calls with retries.
const OUTCOMES: [(&str, &str); 13] = [
    ("success", "green"),
    ("first_try", "green"),
    ("idempotent", "blue"),
    ("recovered", "blue"),
    ("reached", "green"),
    ("rejected", "purple"),
    ("conflict", "orange"),
    ("error", "red"),
    ("permanent", "red"),
    ("exhausted", "dark-red"),
    ("timeout", "yellow"),
    ("deadline", "yellow"),
    ("canceled", "text"),
];
const PHASES: [(&str, &str); 6] = [
    ("queue", "orange"),
    ("acquire", "yellow"),
    ("wait_replica", "purple"),
    ("execute", "green"),
    ("decode", "blue"),
    ("pause", "red"),
];
const STATISTICS: [(&str, &str); 4] =
    [("mean", "green"), ("P50", "blue"), ("P95", "orange"), ("P99", "red")];

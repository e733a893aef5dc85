use super::DURATION;
use crate::model::{Panel, Unit};
use crate::promql::{Selected, mean, quantile};

/// Returns the panels about durations.
pub fn panels() -> Vec<Panel> {
    let commands = Selected::new(DURATION, "kind=\"command\", outcome=\"success\"");
    let queries = Selected::new(DURATION, "kind=\"query\", outcome=\"success\"");
    vec![
        panel("Mean duration of commands", MEAN, mean("name", commands)),
        panel("P50 of the duration of commands", P50, quantile(0.5, "name", commands)),
        panel("P95 of the duration of commands", P95, quantile(0.95, "name", commands)),
        panel("P99 of the duration of commands", P99, quantile(0.99, "name", commands)),
        panel("Mean duration of queries", MEAN, mean("name", queries)),
        panel("P50 of the duration of queries", P50, quantile(0.5, "name", queries)),
        panel("P95 of the duration of queries", P95, quantile(0.95, "name", queries)),
        panel("P99 of the duration of queries", P99, quantile(0.99, "name", queries)),
    ]
}

fn panel(title: &'static str, meaning: &'static str, expression: String) -> Panel {
    let remedy = "If one name is slow, it reads many events or loses rounds: look at the row \
        Business logic. If all are, look at the phases in the dashboard \"Event store\".";
    Panel::new(title, Unit::Seconds, meaning, remedy).series("{{name}}", expression)
}

const MEAN: &str = "The time from the call of a handler until it succeeded, retries included. The \
    mean is the sum of the durations divided by their number.";
const P50: &str = "Half of the calls of a handler that succeeded took at most this time, retries \
    included. The value is interpolated between the boundaries of buckets.";
const P95: &str = "95 percent of the calls of a handler that succeeded took at most this time, \
    retries included. The value is interpolated between the boundaries of buckets.";
const P99: &str = "99 percent of the calls of a handler that succeeded took at most this time, \
    retries included. The value is interpolated between the boundaries of buckets.";

use super::OUTCOMES;
use crate::model::{Panel, Unit};
use crate::promql::{Selected, mean, quantile, rate, share};

/// Returns the panels about what the store does.
pub fn core() -> Vec<Panel> {
    vec![
        Panel::new(
            "Successful writes per second",
            Unit::OperationsPerSecond,
            "Appends, decisions under the log's lock, and imports that succeeded, counted when \
             they end. Any other decision is a query and an append.",
            "If it falls and the callers still send writes, look at the rows Errors and \
             Performance. If it falls without errors, fewer writes arrive.",
        )
        .series("{{operation}}", rate("operation", Selected::new(OUTCOMES, WRITES))),
        Panel::new(
            "Successful reads per second",
            Unit::OperationsPerSecond,
            "Queries, streams and requests for the head that succeeded, by the server that \
             answered, counted when they end.",
            "If the primary answers what the replicas should, look at \"Fallbacks to the primary \
             per second\" and \"Replica lag\".",
        )
        .series(
            "{{operation}} {{server}}",
            rate("operation, server", Selected::new(OUTCOMES, READS)),
        ),
        Panel::new(
            "Events per second",
            Unit::EventsPerSecond,
            "Events that were read from a server, and events that were appended to the log.",
            "If the events read grow and the reads per second do not, filters select more than \
             they did: look at \"Events folded per decision\".",
        )
        .series(
            "{{direction}} {{server}}",
            rate("direction, server", Selected::new("eventstore_events_total", "")),
        ),
    ]
}

/// Returns the panels about decisions and their boundaries.
pub fn business_logic() -> Vec<Panel> {
    vec![
        Panel::new(
            "Success share of writes",
            Unit::Share,
            "Appends, and decisions under the log's lock, that succeeded, as a share of all that \
             ended. A round of a decision that ends with a conflict is an append without success.",
            "If it falls, the panels of the rows Errors and Context tell which other outcome \
             grows.",
        )
        .series(
            "{{operation}}",
            share(
                "operation",
                Selected::new(OUTCOMES, "operation=~\"append|decide\", outcome=\"success\""),
                Selected::new(OUTCOMES, "operation=~\"append|decide\""),
            ),
        ),
        statistics(
            Panel::new(
                "Lost rounds per decision",
                Unit::Count,
                "Rounds of a decision that ended with a conflict, so that it read and decided \
                 again. 0 means that the first round succeeded. Quantiles are interpolated in \
                 their bucket.",
                "If the mean is above 1, many writers contend for one boundary. Narrow the filter \
                 of the command that the dashboard \"Library\" names, or let one process write.",
            ),
            Selected::new("eventstore_decide_rounds", ""),
        ),
        Panel::new(
            "Escalations per second",
            Unit::CountsPerSecond,
            "Decisions that lost so many rounds that they went on under the log's lock.",
            "Each of them holds up all other appends while it decides. If they are frequent, \
             narrow the filter of that scope, or raise `RetryPolicy::escalate_after`.",
        )
        .series(
            "{{scope}}",
            rate("scope", Selected::new("eventstore_decide_escalations_total", "")),
        ),
        statistics(
            Panel::new(
                "Events folded per decision",
                Unit::Count,
                "Events that the last round of a decision read and folded into its state.",
                "If it grows with the age of the log, the boundary grows too: narrow the filter, \
                 or end long histories with a summarizing event.",
            ),
            Selected::new("eventstore_decide_events", ""),
        ),
    ]
}

/// Adds the mean and two quantiles of a histogram.
fn statistics(panel: Panel, histogram: Selected) -> Panel {
    panel
        .series("mean", mean("", histogram))
        .series("P95", quantile(0.95, "", histogram))
        .series("P99", quantile(0.99, "", histogram))
}

const WRITES: &str = "operation=~\"append|decide|import\", outcome=\"success\"";
const READS: &str = "operation=~\"head|query|stream\", outcome=\"success\"";

use crate::model::{Panel, Unit};
use crate::promql::{Selected, mean, quantile, rate};

/// Returns the panels about rounds of decisions, and the events that they read.
pub fn decisions() -> Vec<Panel> {
    let rounds = Selected::new("eventstore_decide_rounds", "");
    let events = Selected::new("eventstore_decide_events", "");
    vec![
        panel(
            "Lost rounds per decision",
            "Rounds that ended with a conflict, so that the decision was made again, by scope. The \
             mean is the number of lost rounds divided by the number of decisions.",
            "Above 1, many callers contend for one boundary: narrow the filter of that command.",
        )
        .series(SCOPE, mean("scope", rounds)),
        panel(
            "P95 of the lost rounds per decision",
            "95 percent of the decisions lost at most this number of rounds, by scope. The value \
             is interpolated between the boundaries of buckets.",
            "If it is high and the mean is not, a few boundaries are contended: look for a popular \
             book or reader.",
        )
        .series(SCOPE, quantile(0.95, "scope", rounds)),
        panel(
            "Events folded per decision",
            "Events that the last round of a decision read, by scope. The mean is the number of \
             events divided by the number of decisions.",
            "If it grows with the age of the log, so does the boundary: narrow the filter, or end \
             long histories with a summarizing event.",
        )
        .series(SCOPE, mean("scope", events)),
        panel(
            "P95 of the events folded per decision",
            "95 percent of the decisions read at most this number of events, by scope. The value \
             is interpolated between the boundaries of buckets.",
            "If it is much higher than the mean, a few boundaries have long histories: look for a \
             popular book or reader.",
        )
        .series(SCOPE, quantile(0.95, "scope", events)),
    ]
}

/// Returns the panels about retries.
pub fn retries() -> Vec<Panel> {
    let mut panels = attempts();
    panels.extend(contention());
    panels
}

fn attempts() -> Vec<Panel> {
    let calls = "eventstore_retry_outcomes_total";
    vec![
        Panel::new(
            "Retries per second",
            Unit::CountsPerSecond,
            "Attempts after the first, by scope and by the class of the error of the previous \
             attempt, counted before their pause.",
            "conflict: look at \"Lost rounds per decision\". Any other reason concerns all scopes: \
             look at the row Retry of the dashboard \"Event store\".",
        )
        .series(
            "{{scope}} {{reason}}",
            rate("scope, reason", Selected::new("eventstore_retry_attempts_total", "")),
        ),
        Panel::new(
            "Calls that recovered per second",
            Unit::OperationsPerSecond,
            "Calls that succeeded in a later attempt, by scope.",
            "Callers saw success, only later. Look at \"Retries per second\" for the reason.",
        )
        .series(SCOPE, rate("scope", Selected::new(calls, "outcome=\"recovered\""))),
        Panel::new(
            "Calls given up per second",
            Unit::OperationsPerSecond,
            "Calls whose last attempt failed with an error that is retried, because no attempt \
             (exhausted), no time (deadline) or no budget was left, by scope.",
            "Callers saw the failure. The alert EventStoreRetriesExhausted fires: look at the \
             reason in \"Retries per second\".",
        )
        .series(
            "{{scope}} {{outcome}}",
            rate("scope, outcome", Selected::new(calls, "outcome=~\"exhausted|deadline|budget\"")),
        ),
    ]
}

fn contention() -> Vec<Panel> {
    vec![
        Panel::new(
            "Mean pause before a retry",
            Unit::Seconds,
            "The pauses before attempts after the first, by scope. The mean is the sum of the \
             pauses divided by their number.",
            "Long pauses mean many attempts of one call: look at the reason in \"Retries per \
             second\".",
        )
        .series(SCOPE, mean("scope", Selected::new("eventstore_retry_delay_seconds", ""))),
        Panel::new(
            "Conflicts by scope per second",
            Unit::CountsPerSecond,
            "Appends and decisions whose condition did not hold, by scope: a matching event had \
             been appended since they read. Each lost round of a decision counts.",
            "If one scope stands out, narrow its filter: it contains events that do not matter for \
             its decision.",
        )
        .series(SCOPE, rate("scope", Selected::new("eventstore_conflicts_total", ""))),
        Panel::new(
            "Escalations per second",
            Unit::CountsPerSecond,
            "Decisions that lost so many rounds that they went on under the log's lock, by scope.",
            "Each of them holds up all other appends while it decides: narrow the filter of that \
             scope.",
        )
        .series(SCOPE, rate("scope", Selected::new("eventstore_decide_escalations_total", ""))),
    ]
}

fn panel(title: &'static str, meaning: &'static str, remedy: &'static str) -> Panel {
    Panel::new(title, Unit::Count, meaning, remedy)
}

const SCOPE: &str = "{{scope}}";

use super::OUTCOMES;
use crate::model::{Panel, Unit};
use crate::promql::{Selected, observations, rate, share};

/// Returns the panels about failures and conflicts.
pub fn errors() -> Vec<Panel> {
    let mut panels = failed_operations();
    panels.extend(conflicts());
    panels
}

/// Returns the panels about operations that were stopped before they had a result.
pub fn context() -> Vec<Panel> {
    vec![
        Panel::new(
            "Canceled operations per second",
            Unit::OperationsPerSecond,
            "Operations whose caller stopped waiting: the future was dropped before it was ready.",
            "Callers set timeouts that are shorter than the operations take, or their clients \
             disconnect. Compare with the durations in the row Performance.",
        )
        .series(
            "{{operation}} {{server}}",
            rate("operation, server", Selected::new(OUTCOMES, "outcome=\"canceled\"")),
        ),
        Panel::new(
            "Timed-out operations per second",
            Unit::OperationsPerSecond,
            "Operations that ended because a time limit of the store or of the server expired.",
            "Look at the phases to see where the time goes before raising a limit of `Config` or \
             `RetryPolicy`.",
        )
        .series(
            "{{operation}} {{server}}",
            rate("operation, server", Selected::new(OUTCOMES, "outcome=\"timeout\"")),
        ),
    ]
}

fn failed_operations() -> Vec<Panel> {
    vec![
        Panel::new(
            "Errors by class per second",
            Unit::CountsPerSecond,
            "Operations that failed after all attempts, by the class of their error. Conflicts are \
             not errors.",
            "transient: a server restarts or fails over. timeout: see the row Context. \
             outcome_unknown: check whether the append was stored. Any other class needs a change, \
             and does not pass by itself: read the error in the application's log.",
        )
        .series(
            "{{operation}} {{class}}",
            rate("operation, class", Selected::new("eventstore_errors_total", "")),
        ),
        Panel::new(
            "Failed operations per second",
            Unit::OperationsPerSecond,
            "Operations that ended with the outcome error, by the server that was asked last.",
            "If they concern one server, look at that server. \"Errors by class per second\" tells \
             the kind.",
        )
        .series(
            "{{operation}} {{server}}",
            rate("operation, server", Selected::new(OUTCOMES, "outcome=\"error\"")),
        ),
        Panel::new(
            "Error share",
            Unit::Share,
            "Operations that ended with the outcome error or timeout, as a share of all that \
             ended.",
            "Above 1 percent for five minutes, the alert EventStoreErrors fires. Start with \
             \"Errors by class per second\".",
        )
        .series(
            "{{operation}}",
            share(
                "operation",
                Selected::new(OUTCOMES, "outcome=~\"error|timeout\""),
                Selected::new(OUTCOMES, ""),
            ),
        ),
        Panel::new(
            "Failed statements per second",
            Unit::OperationsPerSecond,
            "Requests to PostgreSQL that failed, with the SQLSTATE of the server, or with the name \
             of the error if there was no answer. A retry may have succeeded later.",
            "Look the SQLSTATE up in PostgreSQL's manual (appendix A). 57P01 to 57P03: the server \
             restarts. 53300: it has no connection left. 40001 on a replica: replay canceled the \
             read.",
        )
        .series(
            "{{db_operation_name}} {{error_type}}",
            observations(
                "db_operation_name, error_type",
                Selected::new("db_client_operation_duration_seconds", "error_type!=\"\""),
            ),
        ),
    ]
}

fn conflicts() -> Vec<Panel> {
    vec![
        Panel::new(
            "Conflicts per second",
            Unit::CountsPerSecond,
            "Appends and decisions whose condition did not hold, by scope: a matching event had \
             been appended since they read. Each lost round of a decision counts.",
            "Some are normal. If they grow faster than the writes, writers contend for a boundary: \
             narrow the filter of that scope.",
        )
        .series("{{scope}}", rate("scope", Selected::new("eventstore_conflicts_total", ""))),
        Panel::new(
            "Conflict share",
            Unit::Share,
            "Appends, and decisions under the log's lock, that ended with a conflict, as a share \
             of all that ended. The lost rounds of decisions are among them.",
            "Above 20 percent for ten minutes, the alert EventStoreConflicts fires. Each conflict \
             is work that is done again: narrow the filter of the scope that \"Conflicts per \
             second\" names.",
        )
        .series(
            "{{operation}}",
            share(
                "operation",
                Selected::new(OUTCOMES, "operation=~\"append|decide\", outcome=\"conflict\""),
                Selected::new(OUTCOMES, "operation=~\"append|decide\""),
            ),
        ),
    ]
}

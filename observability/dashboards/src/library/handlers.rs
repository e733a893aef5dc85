use super::HANDLERS;
use crate::model::{Panel, Unit};
use crate::promql::{Selected, rate, share};

/// Returns the panels about what the handlers do.
pub fn core() -> Vec<Panel> {
    vec![
        Panel::new(
            "Successful commands per second",
            Unit::OperationsPerSecond,
            "Commands whose decision was made and stored, by name, counted when the handler \
             returns. Commands that changed nothing are in \"Idempotent commands per second\".",
            "If one falls and the others do not, look for its name in the row Errors. If all fall, \
             look at the dashboard \"Event store\".",
        )
        .series(
            "{{name}}",
            rate("name", Selected::new(HANDLERS, "kind=\"command\", outcome=\"success\"")),
        ),
        Panel::new(
            "Successful queries per second",
            Unit::OperationsPerSecond,
            "Queries that were answered, by name, counted when the handler returns.",
            "If one falls and the others do not, look for its name in the row Errors. If all fall, \
             look at the replicas in the dashboard \"Event store\".",
        )
        .series(
            "{{name}}",
            rate("name", Selected::new(HANDLERS, "kind=\"query\", outcome=\"success\"")),
        ),
    ]
}

/// Returns the panels about commands and queries that were refused or failed.
pub fn errors() -> Vec<Panel> {
    vec![
        Panel::new(
            "Rejected commands per second",
            Unit::OperationsPerSecond,
            "Commands that a rule of the library refused, by name. Their failure event is stored.",
            "The system works: users ask for what the rules forbid. A sudden rise points to a \
             wrong client, or to a rule that was changed.",
        )
        .series(
            "{{name}}",
            rate("name", Selected::new(HANDLERS, "kind=\"command\", outcome=\"rejected\"")),
        ),
        Panel::new(
            "Errors per second",
            Unit::OperationsPerSecond,
            "Commands and queries that failed after all retries, by name.",
            "Look at the row Errors of the dashboard \"Event store\" for the class, and at the \
             application's log for the message.",
        )
        .series(
            "{{kind}} {{name}}",
            rate("kind, name", Selected::new(HANDLERS, "outcome=\"error\"")),
        ),
        Panel::new(
            "Conflicts per second",
            Unit::OperationsPerSecond,
            "Commands that ended with a conflict after all rounds of their decision, by name.",
            "Users see these. Narrow the filter of the command, or allow more rounds before a \
             decision takes the log's lock.",
        )
        .series(
            "{{name}}",
            rate("name", Selected::new(HANDLERS, "kind=\"command\", outcome=\"conflict\"")),
        ),
        Panel::new(
            "Error share",
            Unit::Share,
            "Commands and queries that ended with error or timeout, as a share of all that ended, \
             by name.",
            "Above 1 percent for five minutes, the alert LibraryErrors fires. Start with \"Errors \
             per second\" and the row Context.",
        )
        .series(
            "{{kind}} {{name}}",
            share(
                "kind, name",
                Selected::new(HANDLERS, "outcome=~\"error|timeout\""),
                Selected::new(HANDLERS, ""),
            ),
        ),
    ]
}

/// Returns the panels about calls that were stopped before they had a result.
pub fn context() -> Vec<Panel> {
    vec![
        Panel::new(
            "Canceled commands and queries per second",
            Unit::OperationsPerSecond,
            "Handlers whose caller stopped waiting: the future was dropped before it was ready.",
            "Clients disconnect, or give up sooner than the handlers answer. Compare with the row \
             Performance.",
        )
        .series(
            "{{kind}} {{name}}",
            rate("kind, name", Selected::new(HANDLERS, "outcome=\"canceled\"")),
        ),
        Panel::new(
            "Timed-out commands and queries per second",
            Unit::OperationsPerSecond,
            "Handlers that ended because a time limit expired.",
            "Look at the phases in the dashboard \"Event store\" to see where the time goes before \
             raising a limit.",
        )
        .series(
            "{{kind}} {{name}}",
            rate("kind, name", Selected::new(HANDLERS, "outcome=\"timeout\"")),
        ),
    ]
}

/// Returns the panels about how commands end.
pub fn business_logic() -> Vec<Panel> {
    vec![
        Panel::new(
            "Idempotent commands per second",
            Unit::OperationsPerSecond,
            "Commands that had nothing to change, by name: what they ask for is so already.",
            "A few are normal. Many mean that a client sends its commands twice, or works with an \
             old view.",
        )
        .series(
            "{{name}}",
            rate("name", Selected::new(HANDLERS, "kind=\"command\", outcome=\"idempotent\"")),
        ),
        outcome_share(
            "Idempotent share",
            "Commands that had nothing to change, as a share of all that ended, by name.",
            "Above 10 percent, look for a client that repeats commands that have succeeded.",
            "kind=\"command\", outcome=\"idempotent\"",
        ),
        outcome_share(
            "Rejected share",
            "Commands that a rule refused, as a share of all that ended, by name.",
            "If it grows, users see an old view: look at \"Replica delay\" in the dashboard \
             \"Event store\".",
            "kind=\"command\", outcome=\"rejected\"",
        ),
        outcome_share(
            "Success share",
            "Commands that changed something, as a share of all that ended, by name.",
            "If it falls, the other panels of this row and the row Errors tell which outcome \
             grows.",
            "kind=\"command\", outcome=\"success\"",
        ),
    ]
}

fn outcome_share(
    title: &'static str,
    meaning: &'static str,
    remedy: &'static str,
    part: &'static str,
) -> Panel {
    let whole = Selected::new(HANDLERS, "kind=\"command\"");
    Panel::new(title, Unit::Share, meaning, remedy)
        .series("{{name}}", share("name", Selected::new(HANDLERS, part), whole))
}

use crate::model::{Panel, Unit};
use crate::promql::{Selected, mean, quantile, rate, share};

/// Returns the panels about retries.
pub fn panels() -> Vec<Panel> {
    let mut panels = attempts();
    panels.extend(ends());
    panels
}

fn attempts() -> Vec<Panel> {
    vec![
        Panel::new(
            "Retries by reason per second",
            Unit::CountsPerSecond,
            "Attempts after the first, by the class of the error of the previous attempt, counted \
             before their pause.",
            "conflict: writers contend for a boundary. transient: look at the server's log and at \
             \"Connection failures per second\". outcome_unknown: connections break during \
             appends.",
        )
        .series("{{reason}}", rate("reason", Selected::new(ATTEMPTS, ""))),
        Panel::new(
            "Retries by attempt per second",
            Unit::CountsPerSecond,
            "Attempts after the first, by their number: 2 is the first retry.",
            "If high numbers are as frequent as low ones, retries do not help: the cause lasts \
             longer than the pauses.",
        )
        .series("attempt {{attempt}}", rate("attempt", Selected::new(ATTEMPTS, ""))),
        Panel::new(
            "Mean pause before a retry",
            Unit::Seconds,
            "The pauses before attempts after the first, by scope, and the pause that 95 percent \
             of them do not exceed. The mean is the sum of the pauses divided by their number.",
            "Long pauses mean many attempts of one call. Look at the reasons before changing \
             `RetryPolicy`.",
        )
        .series("{{scope}} mean", mean("scope", Selected::new(DELAY, "")))
        .series("{{scope}} P95", quantile(0.95, "scope", Selected::new(DELAY, ""))),
    ]
}

fn ends() -> Vec<Panel> {
    vec![
        Panel::new(
            "Calls by outcome of their retries per second",
            Unit::OperationsPerSecond,
            "Calls with a retry policy, by how they ended: first_try, recovered (a later attempt \
             succeeded), exhausted, deadline, budget (given up), permanent (not retried), \
             canceled.",
            "exhausted, deadline and budget mean that callers saw the failure: look at \"Calls \
             given up per second\".",
        )
        .series("{{outcome}}", rate("outcome", Selected::new(CALLS, ""))),
        Panel::new(
            "Calls given up per second",
            Unit::OperationsPerSecond,
            "Calls whose last attempt failed with an error that is retried, because no attempt, no \
             time or no budget was left, by scope.",
            "exhausted: raise the attempts only if the cause passes by itself. deadline: the cause \
             lasts longer than the deadline. budget: so many calls fail that retries would only \
             add load.",
        )
        .series("{{scope}} {{outcome}}", rate("scope, outcome", Selected::new(CALLS, GIVEN_UP))),
        Panel::new(
            "Share of calls that recovered",
            Unit::Share,
            "Calls whose retries succeeded, as a share of the calls that recovered or were given \
             up.",
            "If it falls below 90 percent, the cause lasts longer than the policy allows: repair \
             the cause, or raise the deadline.",
        )
        .series(
            "{{scope}}",
            share(
                "scope",
                Selected::new(CALLS, "outcome=\"recovered\""),
                Selected::new(CALLS, "outcome=~\"recovered|exhausted|deadline|budget\""),
            ),
        ),
    ]
}

const ATTEMPTS: &str = "eventstore_retry_attempts_total";
const DELAY: &str = "eventstore_retry_delay_seconds";
const CALLS: &str = "eventstore_retry_outcomes_total";
const GIVEN_UP: &str = "outcome=~\"exhausted|deadline|budget\"";

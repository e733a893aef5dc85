use super::DURATION;
use crate::model::{Panel, Unit};
use crate::promql::{Selected, mean, mean_per, observations, quantile};

/// Returns the panels about durations.
pub fn panels() -> Vec<Panel> {
    let mut panels = writes();
    panels.extend(reads());
    panels.extend([
        phases("Phases of append", "operation=\"append\""),
        phases("Phases of decide", "operation=\"decide\""),
        phases("Phases of query", "operation=\"query\""),
    ]);
    panels.extend(statements());
    panels
}

fn writes() -> Vec<Panel> {
    vec![
        Panel::new(
            "Mean duration of writes",
            Unit::Seconds,
            "The time from the call of a write until it succeeded, with all of its attempts and \
             pauses. The mean is the sum of the durations divided by their number.",
            "Look at the phases below: they tell whether writes wait for their batch, for a \
             connection, or for the server.",
        )
        .series(
            "{{operation}}",
            mean(
                "operation",
                Selected::new(DURATION, "operation=~\"append|decide|import\", outcome=\"success\""),
            ),
        ),
        quantiles("Duration of append", APPEND),
        quantiles("Duration of decide", DECIDE),
    ]
}

fn reads() -> Vec<Panel> {
    vec![
        Panel::new(
            "Mean duration of reads",
            Unit::Seconds,
            "The time from the call of a read until its last event was handed over, by the server \
             that answered. A stream takes as long as its reader. The mean is the sum of the \
             durations divided by their number.",
            "If one server is slower than the others, look at its load. If all are, look at \
             \"Phases of query\" and \"Events per second\".",
        )
        .series(
            "{{operation}} {{server}}",
            mean(
                "operation, server",
                Selected::new(DURATION, "operation=~\"head|query|stream\", outcome=\"success\""),
            ),
        ),
        quantiles("Duration of query", QUERY),
        quantiles("Duration of stream", STREAM),
    ]
}

fn quantiles(title: &'static str, matchers: &'static str) -> Panel {
    let histogram = Selected::new(DURATION, matchers);
    Panel::new(
        title,
        Unit::Seconds,
        "The time from the call of an operation until it succeeded, with all of its attempts and \
         pauses. 50, 95 and 99 percent of the operations took at most this time. The values are \
         interpolated between the boundaries of buckets.",
        "If only P99 is high, some operations wait: look at the phases, at the row Retry and at \
         the pools. If P50 is high, all do.",
    )
    .series("P50", quantile(0.5, "", histogram))
    .series("P95", quantile(0.95, "", histogram))
    .series("P99", quantile(0.99, "", histogram))
}

fn phases(title: &'static str, matchers: &'static str) -> Panel {
    let time = Selected::new("eventstore_phase_duration_seconds", matchers);
    Panel::new(
        title,
        Unit::Seconds,
        "The mean time that an operation spends in each phase, whatever its outcome. The phases \
         add up to the operation: queue (in this process, for the batch), acquire (for a \
         connection), wait_replica (for a position), execute (from the request to the last \
         answer), decode (work on the answer), pause (between attempts).",
        "queue: the server commits more slowly than appends arrive. acquire: raise \
         `Config::max_connections`. wait_replica: look at the replicas' lag. execute: look at the \
         server. decode: this process lacks CPU, or reads too many events. pause: look at the row \
         Retry.",
    )
    .series("{{phase}}", mean_per("phase", time, Selected::new(DURATION, matchers)))
    .stacked()
}

fn statements() -> Vec<Panel> {
    let all = Selected::new(STATEMENT, "");
    vec![
        Panel::new(
            "Statements per second",
            Unit::OperationsPerSecond,
            "Requests to PostgreSQL, also those that failed. A batch of appends is one request.",
            "If it is much higher than the operations per second, look at the row Retry. If it is \
             lower for appends, batches work.",
        )
        .series("{{db_operation_name}}", observations("db_operation_name", all)),
        Panel::new(
            "Mean duration of statements",
            Unit::Seconds,
            "The time from sending a request until its last answer arrived, without waiting for a \
             connection, for a batch or for a retry. The mean is the sum of the durations divided \
             by their number.",
            "If it is high, the server or the network is slow: compare with `pg_stat_statements` \
             and with the time of a round trip.",
        )
        .series("{{db_operation_name}}", mean("db_operation_name", all)),
        Panel::new(
            "P95 of the duration of statements",
            Unit::Seconds,
            "95 percent of the requests were answered within this time, from sending the request \
             until its last answer arrived, by server.",
            "If one server stands out, look at its load and its disks. If appends stand out, look \
             at the time that the server needs to flush its WAL.",
        )
        .series(
            "{{db_operation_name}} {{server_address}}:{{server_port}}",
            quantile(0.95, "db_operation_name, server_address, server_port", all),
        ),
    ]
}

const STATEMENT: &str = "db_client_operation_duration_seconds";
const APPEND: &str = "operation=\"append\", outcome=\"success\"";
const DECIDE: &str = "operation=\"decide\", outcome=\"success\"";
const QUERY: &str = "operation=\"query\", outcome=\"success\"";
const STREAM: &str = "operation=\"stream\", outcome=\"success\"";

use crate::model::{Panel, Unit};
use crate::promql::{Selected, mean, observations, quantile, rate, ratio_of_totals, total};

/// Returns the panels about connections and batches.
pub fn panels() -> Vec<Panel> {
    let mut panels = occupancy();
    panels.extend(times());
    panels.extend(failures());
    panels.extend(batches());
    panels
}

fn occupancy() -> Vec<Panel> {
    vec![
        Panel::new(
            "Connections",
            Unit::Count,
            "Connections of each pool, idle or used, and the most that the pool may have.",
            "If used stays at the maximum, operations wait: look at \"Pending requests for a \
             connection\".",
        )
        .series(
            "{{db_client_connection_pool_name}} {{db_client_connection_state}}",
            total(
                "db_client_connection_pool_name, db_client_connection_state",
                Selected::new(COUNT, ""),
            ),
        )
        .series("{{db_client_connection_pool_name}} max", total(POOL, Selected::new(MAX, ""))),
        Panel::new(
            "Used share of the connections",
            Unit::Share,
            "Used connections, as a share of the most that the pool may have.",
            "At 100 percent, raise `Config::max_connections` if the server has room, or shorten \
             what holds connections: look at \"Time that a connection is used\".",
        )
        .series(
            POOL_LEGEND,
            ratio_of_totals(
                POOL,
                Selected::new(COUNT, "db_client_connection_state=\"used\""),
                Selected::new(MAX, ""),
            ),
        ),
        Panel::new(
            "Pending requests for a connection",
            Unit::Count,
            "Operations that wait for a connection now.",
            "If it stays above zero for minutes, the alert EventStorePoolPending fires: the pool \
             is too small, or the server is too slow.",
        )
        .series(
            POOL_LEGEND,
            total(POOL, Selected::new("db_client_connection_pending_requests", "")),
        ),
    ]
}

fn times() -> Vec<Panel> {
    vec![
        statistics(
            Panel::new(
                "Time to get a connection",
                Unit::Seconds,
                "The time from asking the pool for a connection until it was handed over. The mean \
                 is the sum of the times divided by their number.",
                "If it is more than a millisecond, the pool is empty when it is asked: look at \
                 \"Connections\".",
            ),
            Selected::new("db_client_connection_wait_time_seconds", ""),
        ),
        statistics(
            Panel::new(
                "Time that a connection is used",
                Unit::Seconds,
                "The time from getting a connection until it was given back. The mean is the sum \
                 of the times divided by their number.",
                "If it is much longer than the statements take, callers hold connections: look for \
                 slow readers of streams.",
            ),
            Selected::new("db_client_connection_use_time_seconds", ""),
        ),
        statistics(
            Panel::new(
                "Time to connect",
                Unit::Seconds,
                "The time to make a new connection: name, TCP, TLS, authentication and settings. \
                 The mean is the sum of the times divided by their number.",
                "If it is high, look at name resolution, at TLS, and at the number of connections \
                 of the server.",
            ),
            Selected::new(CREATE, ""),
        ),
    ]
}

fn failures() -> Vec<Panel> {
    vec![
        Panel::new(
            "Pool timeouts per second",
            Unit::CountsPerSecond,
            "Operations that got no connection within `Config::acquire_timeout`.",
            "The alert EventStorePoolTimeouts fires. Callers see errors: raise \
             `Config::max_connections`, or reduce the load.",
        )
        .series(POOL_LEGEND, rate(POOL, Selected::new("db_client_connection_timeouts_total", ""))),
        Panel::new(
            "Connection failures per second",
            Unit::CountsPerSecond,
            "Attempts to connect that failed, by class, also those that the pool repeats without \
             an error for the caller.",
            "transient: the server is down or unreachable. authentication: credentials or \
             certificates are wrong. The alert EventStoreConnectionFailures fires.",
        )
        .series(
            "{{db_client_connection_pool_name}} {{class}}",
            rate(
                "db_client_connection_pool_name, class",
                Selected::new("eventstore_connection_failures_total", ""),
            ),
        ),
        Panel::new(
            "New connections per second",
            Unit::OperationsPerSecond,
            "Connections that were made.",
            "A pool that is warm makes few. If it goes on, something closes connections: a pooler, \
             a firewall, `idle_session_timeout`, or errors.",
        )
        .series(POOL_LEGEND, observations(POOL, Selected::new(CREATE, ""))),
    ]
}

fn batches() -> Vec<Panel> {
    let batch = Selected::new("eventstore_append_batch", "");
    vec![
        Panel::new(
            "Appends per batch",
            Unit::Count,
            "Appends that were sent to the server together. P95 is interpolated in its bucket: if \
             all batches have one append, it is below 1.",
            "It grows with the load and makes appends cheap. If it is near `Config::max_batch`, \
             appends wait: look at \"Appends in the queue\".",
        )
        .series("mean", mean("", batch))
        .series("P95", quantile(0.95, "", batch)),
        Panel::new(
            "Batches per second",
            Unit::OperationsPerSecond,
            "Batches of appends that were sent. Each needs one flush of the server's WAL.",
            "If it falls while the queue grows, the server flushes more slowly: look at its disks \
             and at synchronous replicas.",
        )
        .series("{{store}}", observations("store", batch)),
        Panel::new(
            "Appends in the queue",
            Unit::Count,
            "Appends that wait in this process to be sent.",
            "Above 1,000 for two minutes, the alert EventStoreAppendQueue fires: the server \
             commits more slowly than appends arrive. Reduce the load, or look at the server.",
        )
        .series("{{store}}", total("store", Selected::new("eventstore_append_queue", ""))),
    ]
}

/// Adds the mean and a quantile of a histogram, for each pool.
fn statistics(panel: Panel, histogram: Selected) -> Panel {
    panel
        .series("{{db_client_connection_pool_name}} mean", mean(POOL, histogram))
        .series("{{db_client_connection_pool_name}} P95", quantile(0.95, POOL, histogram))
}

const POOL: &str = "db_client_connection_pool_name";
const POOL_LEGEND: &str = "{{db_client_connection_pool_name}}";
const COUNT: &str = "db_client_connection_count";
const MAX: &str = "db_client_connection_max";
const CREATE: &str = "db_client_connection_create_time_seconds";

use super::AlertTest;

/// The tests of all alerts, in the order of the alerts.
pub const TESTS: &[AlertTest] = &[
    AlertTest {
        alert: "EventStoreTargetDown",
        fires: &[("up", "a", "", "0+0"), ("up", "b", "", "1+0")],
        calm: &[("up", "a", "", "1+0"), ("up", "b", "", "1+0")],
        labels: "instance: a",
        summary: "Prometheus cannot scrape a",
    },
    // Both processes together: 2 of 100 appends fail, and then 1 of 100.
    AlertTest {
        alert: "EventStoreErrors",
        fires: &[
            (OPERATIONS, "a", r#"operation="append", outcome="success""#, "0+140"),
            (OPERATIONS, "a", r#"operation="append", outcome="error""#, "0+3"),
            (OPERATIONS, "b", r#"operation="append", outcome="success""#, "0+56"),
            (OPERATIONS, "b", r#"operation="append", outcome="timeout""#, "0+1"),
            (OPERATIONS, "b", r#"operation="query", outcome="success""#, "0+500"),
        ],
        calm: &[
            (OPERATIONS, "a", r#"operation="append", outcome="success""#, "0+49"),
            (OPERATIONS, "a", r#"operation="append", outcome="error""#, "0+1"),
            (OPERATIONS, "b", r#"operation="append", outcome="conflict""#, "0+25"),
            (OPERATIONS, "b", r#"operation="append", outcome="canceled""#, "0+25"),
        ],
        labels: "store: loans, operation: append",
        summary: "2% of append fail in loans",
    },
    AlertTest {
        alert: "EventStoreOutcomeUnknown",
        fires: &[("eventstore_errors_total", "a", UNKNOWN, "0+1")],
        calm: &[
            ("eventstore_errors_total", "a", UNKNOWN, "7+0"),
            ("eventstore_errors_total", "a", r#"operation="append", class="transient""#, "0+1"),
        ],
        labels: "store: loans, operation: append",
        summary: "Callers do not know whether an append to loans was stored",
    },
    // Of 100 appends, 2 take between 1 and 2.5 seconds, and then between 0.25 and 0.5 seconds.
    AlertTest {
        alert: "EventStoreSlowWrites",
        fires: &[
            (SECONDS, "a", r#"operation="append", le="0.5""#, "0+98"),
            (SECONDS, "a", r#"operation="append", le="1""#, "0+98"),
            (SECONDS, "a", r#"operation="append", le="2""#, "0+100"),
            (SECONDS, "a", r#"operation="append", le="+Inf""#, "0+100"),
        ],
        calm: &[
            (SECONDS, "a", r#"operation="append", le="0.25""#, "0+98"),
            (SECONDS, "a", r#"operation="append", le="0.5""#, "0+100"),
            (SECONDS, "a", r#"operation="append", le="+Inf""#, "0+100"),
            (SECONDS, "a", r#"operation="stream", le="0.5""#, "0+0"),
            (SECONDS, "a", r#"operation="stream", le="10""#, "0+100"),
            (SECONDS, "a", r#"operation="stream", le="+Inf""#, "0+100"),
        ],
        labels: "store: loans, operation: append",
        summary: "P99 of append in loans is 1.5s",
    },
    AlertTest {
        alert: "LibraryErrors",
        fires: &[
            (HANDLERS, "a", r#"kind="command", name="lend", outcome="success""#, "0+90"),
            (HANDLERS, "a", r#"kind="command", name="lend", outcome="error""#, "0+10"),
        ],
        calm: &[
            (HANDLERS, "a", r#"kind="command", name="lend", outcome="success""#, "0+29"),
            (HANDLERS, "a", r#"kind="command", name="lend", outcome="error""#, "0+1"),
            (HANDLERS, "a", r#"kind="command", name="lend", outcome="rejected""#, "0+70"),
        ],
        labels: "kind: command, name: lend",
        summary: "10% of the command lend fail",
    },
    AlertTest {
        alert: "EventStoreConflicts",
        fires: &[
            (OPERATIONS, "a", r#"operation="append", outcome="success""#, "0+75"),
            (OPERATIONS, "a", r#"operation="append", outcome="conflict""#, "0+25"),
        ],
        calm: &[
            (OPERATIONS, "a", r#"operation="append", outcome="success""#, "0+80"),
            (OPERATIONS, "a", r#"operation="append", outcome="conflict""#, "0+20"),
        ],
        labels: "store: loans, operation: append",
        summary: "25% of append in loans conflict",
    },
    AlertTest {
        alert: "EventStoreRetriesExhausted",
        fires: &[("eventstore_retry_outcomes_total", "a", EXHAUSTED, "0+1")],
        calm: &[
            ("eventstore_retry_outcomes_total", "a", EXHAUSTED, "7+0"),
            ("eventstore_retry_outcomes_total", "a", r#"scope="lend", outcome="recovered""#, "0+9"),
        ],
        labels: "store: loans, scope: lend",
        summary: "Calls of lend in loans are given up after retries",
    },
    AlertTest {
        alert: "EventStoreAppendQueue",
        fires: &[("eventstore_append_queue", "a", "", "1001+0")],
        // Each process has its own queue.
        calm: &[
            ("eventstore_append_queue", "a", "", "1000+0"),
            ("eventstore_append_queue", "b", "", "1000+0"),
        ],
        labels: "instance: a, store: loans",
        summary: "1001 appends wait in a",
    },
    AlertTest {
        alert: "EventStoreReplicaLag",
        fires: &[
            ("eventstore_replica_lag", "a", REPLICA, "12000+0"),
            ("eventstore_replica_lag", "b", REPLICA, "0+0"),
        ],
        calm: &[
            ("eventstore_replica_lag", "a", REPLICA, "10000+0"),
            ("eventstore_replica_lag", "b", REPLICA, "10000+0"),
        ],
        labels: "store: loans, server: replica-0",
        summary: "replica-0 of loans is 12000 events behind",
    },
    AlertTest {
        alert: "EventStoreReplicaDelay",
        fires: &[
            ("eventstore_replica_delay_seconds", "a", REPLICA, "0+0"),
            ("eventstore_replica_delay_seconds", "b", REPLICA, "45+0"),
        ],
        calm: &[
            ("eventstore_replica_delay_seconds", "a", REPLICA, "30+0"),
            ("eventstore_replica_delay_seconds", "b", REPLICA, "30+0"),
        ],
        labels: "store: loans, server: replica-0",
        summary: "replica-0 of loans is 45s behind",
    },
    AlertTest {
        alert: "EventStoreReplicaFaults",
        fires: &[("eventstore_replica_faults_total", "a", PROMOTED, "0+1")],
        calm: &[("eventstore_replica_faults_total", "a", PROMOTED, "7+0")],
        labels: "store: loans, server: replica-0, reason: promoted",
        summary: "replica-0 of loans is not read from: promoted",
    },
    // 10 per second, and then 1 per second.
    AlertTest {
        alert: "EventStoreReplicaFallbacks",
        fires: &[("eventstore_replica_fallbacks_total", "a", r#"reason="behind""#, "0+50")],
        calm: &[
            ("eventstore_replica_fallbacks_total", "a", r#"reason="behind""#, "0+5"),
            ("eventstore_replica_fallbacks_total", "a", r#"reason="unreachable""#, "0+5"),
        ],
        labels: "store: loans, reason: behind",
        summary: "The primary answers reads of loans, because replicas are behind",
    },
    AlertTest {
        alert: "EventStorePoolTimeouts",
        fires: &[("db_client_connection_timeouts_total", "a", POOL, "0+1")],
        calm: &[("db_client_connection_timeouts_total", "a", POOL, "7+0")],
        labels: "instance: a, store: loans, db_client_connection_pool_name: primary",
        summary: "Operations of a get no connection to primary",
    },
    // In the calm series, no operation waits at one scrape in 160 seconds.
    AlertTest {
        alert: "EventStorePoolPending",
        fires: &[("db_client_connection_pending_requests", "a", POOL, "1+0")],
        calm: &[("db_client_connection_pending_requests", "a", POOL, PENDING)],
        labels: "instance: a, store: loans, db_client_connection_pool_name: primary",
        summary: "Operations of a wait for connections to primary",
    },
    AlertTest {
        alert: "EventStoreConnectionFailures",
        fires: &[("eventstore_connection_failures_total", "a", FAILURE, "0+1")],
        calm: &[("eventstore_connection_failures_total", "a", FAILURE, "7+0")],
        labels: "instance: a, store: loans, db_client_connection_pool_name: replica-0, class: \
            transient",
        summary: "a cannot connect to replica-0: transient",
    },
];

const EXHAUSTED: &str = r#"scope="lend", outcome="exhausted""#;
const FAILURE: &str = r#"db_client_connection_pool_name="replica-0", class="transient""#;
const HANDLERS: &str = "eventstore_handler_outcomes_total";
const OPERATIONS: &str = "eventstore_operation_outcomes_total";
/// No operation waits at one scrape in 160 seconds.
const PENDING: &str = "9+0x30 0 9+0x30 0 9+0x30 0 9+0x30 0 9+0x30 0 9+0";
const POOL: &str = r#"db_client_connection_pool_name="primary""#;
const PROMOTED: &str = r#"server="replica-0", reason="promoted""#;
const REPLICA: &str = r#"server="replica-0""#;
const SECONDS: &str = "eventstore_operation_duration_seconds_bucket";
const UNKNOWN: &str = r#"operation="append", class="outcome_unknown""#;

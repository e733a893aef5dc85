//! The rules of Prometheus that tell people about a failure.
//!
//! Each alert names the job and the store, so that several applications can share a Prometheus.

/// A rule that fires while its expression has a result for some time.
#[derive(Clone, Copy, Debug)]
pub struct Alert<'a> {
    /// The name.
    pub name: &'static str,
    /// The condition in PromQL.
    pub expression: &'a str,
    /// How long the condition must hold.
    pub duration: &'static str,
    /// How soon a person must look.
    pub severity: Severity,
    /// What happens, in one line.
    pub summary: &'static str,
    /// What it means, and what to do.
    pub description: &'static str,
}

/// How soon a person must look at an alert.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Severity {
    /// Now: callers see failures.
    Critical,
    /// In working hours: it becomes critical if nothing is done.
    Warning,
}

impl Severity {
    /// Returns the value of the label `severity`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
        }
    }
}

/// Returns all alerts.
pub fn alerts() -> Vec<Alert<'static>> {
    [OPERATIONS.as_slice(), &CONTENTION, &REPLICAS, &CONNECTIONS].concat()
}

/// Returns a file of rules that Prometheus reads.
pub fn rules(alerts: &[Alert<'_>]) -> String {
    let mut file = String::from(
        "# Written by `cargo run -p dashboards`: change observability/dashboards/src/alerts.rs.\n\
         groups:\n  - name: eddyline\n    rules:\n",
    );
    for alert in alerts {
        let Alert { name, expression, duration, severity, summary, description } = alert;
        let severity = severity.as_str();
        file.push_str(&format!(
            "      - alert: {name}\n        expr: |-\n          {expression}\n        \
             for: {duration}\n        labels:\n          severity: {severity}\n        \
             annotations:\n          summary: >-\n            {summary}\n          \
             description: >-\n            {description}\n",
        ));
    }
    file
}

const OPERATIONS: [Alert<'static>; 5] = [
    Alert {
        name: "EventStoreTargetDown",
        expression: "up{job=\"eddyline\"} == 0",
        duration: "1m",
        severity: Severity::Critical,
        summary: "Prometheus cannot scrape {{ $labels.instance }}",
        description: "The application does not answer at its metrics address: it is down, or the \
            address is wrong. No other alert can fire for it. Check the process first.",
    },
    Alert {
        name: "EventStoreErrors",
        expression: "sum by (job, store, operation) \
            (rate(eventstore_operation_outcomes_total{outcome=~\"error|timeout\"}[5m])) / sum by \
            (job, store, operation) (rate(eventstore_operation_outcomes_total[5m])) > 0.01",
        duration: "5m",
        severity: Severity::Critical,
        summary: "{{ $value | humanizePercentage }} of {{ $labels.operation }} fail in {{ \
            $labels.store }}",
        description: "Operations fail or time out after all of their attempts. The panel \"Errors \
            by class per second\" tells the class: transient is the server, timeout is load, any \
            other class needs a change.",
    },
    Alert {
        name: "EventStoreOutcomeUnknown",
        expression: "sum by (job, store, operation) \
            (increase(eventstore_errors_total{class=\"outcome_unknown\"}[5m])) > 0",
        duration: "1m",
        severity: Severity::Critical,
        summary: "Callers do not know whether an append to {{ $labels.store }} was stored",
        description: "Connections broke during appends, and the store could not find out in time \
            whether the events are stored. Repeat these appends with the same event ids: the store \
            does not store an event twice. Then look for the cause: a restart, a failover, the \
            network.",
    },
    Alert {
        name: "EventStoreSlowWrites",
        expression: "histogram_quantile(0.99, sum by (le, job, store, operation) (rate(\
            eventstore_operation_duration_seconds_bucket{operation=~\"append|decide\"}[5m]))) \
            > 0.5",
        duration: "10m",
        severity: Severity::Warning,
        summary: "P99 of {{ $labels.operation }} in {{ $labels.store }} is {{ $value | \
            humanizeDuration }}",
        description: "One write in a hundred takes longer than half a second. The panels \"Phases \
            of append\" and \"Phases of decide\" tell where the time goes.",
    },
    Alert {
        name: "LibraryErrors",
        expression: "sum by (job, kind, name) \
            (rate(eventstore_handler_outcomes_total{outcome=~\"error|timeout\"}[5m])) / sum by \
            (job, kind, name) (rate(eventstore_handler_outcomes_total[5m])) > 0.01",
        duration: "5m",
        severity: Severity::Critical,
        summary: "{{ $value | humanizePercentage }} of the {{ $labels.kind }} {{ $labels.name }} \
            fail",
        description: "A handler fails or times out after all retries. If EventStoreErrors fires \
            too, start there. Otherwise the application's log has the message.",
    },
];

const CONTENTION: [Alert<'static>; 3] = [
    Alert {
        name: "EventStoreConflicts",
        expression: "sum by (job, store, operation) \
            (rate(eventstore_operation_outcomes_total{operation=~\"append|decide\", \
            outcome=\"conflict\"}[5m])) / sum by (job, store, operation) \
            (rate(eventstore_operation_outcomes_total{operation=~\"append|decide\"}[5m])) > 0.2",
        duration: "10m",
        severity: Severity::Warning,
        summary: "{{ $value | humanizePercentage }} of {{ $labels.operation }} in {{ $labels.store \
            }} conflict",
        description: "Writers contend for a boundary, and one write in five is done again or \
            fails. The panel \"Conflicts per second\" tells the scope: narrow its filter.",
    },
    Alert {
        name: "EventStoreRetriesExhausted",
        expression: "sum by (job, store, scope) \
            (rate(eventstore_retry_outcomes_total{outcome=~\"exhausted|deadline|budget\"}[5m])) > \
            0",
        duration: "5m",
        severity: Severity::Warning,
        summary: "Calls of {{ $labels.scope }} in {{ $labels.store }} are given up after retries",
        description: "The cause lasts longer than the retry policy allows. The panel \"Retries by \
            reason per second\" tells the reason: repair it before raising a limit.",
    },
    Alert {
        name: "EventStoreAppendQueue",
        expression: "sum by (job, instance, store) (eventstore_append_queue) > 1000",
        duration: "2m",
        severity: Severity::Warning,
        summary: "{{ $value }} appends wait in {{ $labels.instance }}",
        description: "The server commits more slowly than appends arrive. At \
            `Config::append_queue` callers wait or fail. Look at the server's disks, at locks on \
            the log, and at the load.",
    },
];

const REPLICAS: [Alert<'static>; 4] = [
    Alert {
        name: "EventStoreReplicaLag",
        expression: "max by (job, store, server) (eventstore_replica_lag) > 10000",
        duration: "2m",
        severity: Severity::Warning,
        summary: "{{ $labels.server }} of {{ $labels.store }} is {{ $value }} events behind",
        description: "The replica replays more slowly than the primary commits. Look at its disks, \
            at long queries on it, and at the network.",
    },
    Alert {
        name: "EventStoreReplicaDelay",
        expression: "max by (job, store, server) (eventstore_replica_delay_seconds) > 30",
        duration: "2m",
        severity: Severity::Warning,
        summary: "{{ $labels.server }} of {{ $labels.store }} is {{ $value | humanizeDuration }} \
            behind",
        description: "Reads from it are old. Reads with a bound on the staleness fail or go to the \
            primary. Look at replication: `pg_stat_replication` on the primary, \
            `pg_stat_wal_receiver` on the replica.",
    },
    Alert {
        name: "EventStoreReplicaFaults",
        expression: "sum by (job, store, server, reason) \
            (increase(eventstore_replica_faults_total[10m])) > 0",
        duration: "1m",
        severity: Severity::Critical,
        summary: "{{ $labels.server }} of {{ $labels.store }} is not read from: {{ $labels.reason \
            }}",
        description: "diverged, backwards: a failover lost events that this server has, or the \
            other way round. promoted: it is a primary now. other_log, duplicate: the \
            configuration names a wrong server. Decide which server is right before anything else.",
    },
    Alert {
        name: "EventStoreReplicaFallbacks",
        expression: "sum by (job, store, reason) (rate(eventstore_replica_fallbacks_total[5m])) > \
            1",
        duration: "5m",
        severity: Severity::Warning,
        summary: "The primary answers reads of {{ $labels.store }}, because replicas are {{ \
            $labels.reason }}",
        description: "More than one read per second goes to the primary as the last resort, and \
            takes capacity from writes. Repair the replicas.",
    },
];

const CONNECTIONS: [Alert<'static>; 3] = [
    Alert {
        name: "EventStorePoolTimeouts",
        expression: "sum by (job, instance, store, db_client_connection_pool_name) \
            (rate(db_client_connection_timeouts_total[5m])) > 0",
        duration: "2m",
        severity: Severity::Critical,
        summary: "Operations of {{ $labels.instance }} get no connection to {{ \
            $labels.db_client_connection_pool_name }}",
        description: "The pool has no connection left within `Config::acquire_timeout`, and \
            callers see errors. If the server is up, raise `Config::max_connections` or reduce the \
            load.",
    },
    Alert {
        name: "EventStorePoolPending",
        expression: "min_over_time(db_client_connection_pending_requests[2m]) > 0",
        duration: "3m",
        severity: Severity::Warning,
        summary: "Operations of {{ $labels.instance }} wait for connections to {{ \
            $labels.db_client_connection_pool_name }}",
        description: "At each scrape some operation waited for a connection. The pool is too small \
            for the load, or the server is too slow: look at \"Time that a connection is used\".",
    },
    Alert {
        name: "EventStoreConnectionFailures",
        expression: "sum by (job, instance, store, db_client_connection_pool_name, class) \
            (rate(eventstore_connection_failures_total[5m])) > 0",
        duration: "3m",
        severity: Severity::Warning,
        summary: "{{ $labels.instance }} cannot connect to {{ \
            $labels.db_client_connection_pool_name }}: {{ $labels.class }}",
        description: "transient: the server is down or unreachable. authentication: credentials or \
            certificates are wrong. Callers may not see it yet, because connections that exist go \
            on.",
    },
];

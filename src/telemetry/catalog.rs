/// An instrument of this crate: what it is called, and what it measures.
///
/// ```
/// use eddyline::telemetry::INSTRUMENTS;
///
/// for instrument in INSTRUMENTS {
///     println!("{} ({}): {}", instrument.name, instrument.unit, instrument.description);
/// }
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Instrument {
    /// The name, as OpenTelemetry has it. Exporters may add the unit.
    pub name: &'static str,
    /// How values are aggregated.
    pub kind: InstrumentKind,
    /// The unit, in the notation of UCUM: `s`, or what is counted in braces.
    pub unit: &'static str,
    /// What is measured.
    pub description: &'static str,
    /// The names of the attributes.
    pub attributes: &'static [&'static str],
    /// The upper boundaries of a histogram's buckets, in its unit.
    pub boundaries: &'static [f64],
}

/// How the values of an instrument are aggregated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum InstrumentKind {
    /// A sum that only grows.
    Counter,
    /// The last value.
    Gauge,
    /// The number, the sum and the distribution of values.
    Histogram,
    /// A sum that grows and falls.
    UpDownCounter,
}

impl Instrument {
    const fn new(
        kind: InstrumentKind,
        name: &'static str,
        unit: &'static str,
        attributes: &'static [&'static str],
        description: &'static str,
    ) -> Self {
        Self { name, kind, unit, description, attributes, boundaries: &[] }
    }

    const fn counter(
        name: &'static str,
        unit: &'static str,
        attributes: &'static [&'static str],
        description: &'static str,
    ) -> Self {
        Self::new(InstrumentKind::Counter, name, unit, attributes, description)
    }

    const fn gauge(
        name: &'static str,
        unit: &'static str,
        attributes: &'static [&'static str],
        description: &'static str,
    ) -> Self {
        Self::new(InstrumentKind::Gauge, name, unit, attributes, description)
    }

    const fn level(
        name: &'static str,
        unit: &'static str,
        attributes: &'static [&'static str],
        description: &'static str,
    ) -> Self {
        Self::new(InstrumentKind::UpDownCounter, name, unit, attributes, description)
    }

    const fn histogram(
        name: &'static str,
        unit: &'static str,
        boundaries: &'static [f64],
        attributes: &'static [&'static str],
        description: &'static str,
    ) -> Self {
        let kind = InstrumentKind::Histogram;
        Self { boundaries, ..Self::new(kind, name, unit, attributes, description) }
    }
}

/// The attribute that names a pool, as OpenTelemetry's conventions have it.
pub(super) const POOL_NAME: &str = "db.client.connection.pool.name";
/// The attribute that says whether connections are in use.
pub(super) const CONNECTION_STATE: &str = "db.client.connection.state";

/// Boundaries from 0.1 ms, which a fast query takes, to 10 s.
const SECONDS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];
/// The boundaries that OpenTelemetry's conventions require.
const CONVENTION_SECONDS: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

pub(super) const EXCHANGE_DURATION: Instrument = Instrument::histogram(
    "db.client.operation.duration",
    "s",
    CONVENTION_SECONDS,
    &[
        "store",
        "db.system.name",
        "db.namespace",
        "db.collection.name",
        "db.operation.name",
        "server.address",
        "server.port",
        "error.type",
        "db.response.status_code",
    ],
    "time from the first byte of a request to a server to the last one of its answer",
);
pub(super) const CONNECTION_COUNT: Instrument = Instrument::level(
    "db.client.connection.count",
    "{connection}",
    &["store", POOL_NAME, CONNECTION_STATE],
    "open connections of a pool, by whether they are in use",
);
pub(super) const CONNECTION_MAX: Instrument = Instrument::level(
    "db.client.connection.max",
    "{connection}",
    &["store", POOL_NAME],
    "the most connections that a pool opens",
);
pub(super) const CONNECTION_PENDING: Instrument = Instrument::level(
    "db.client.connection.pending_requests",
    "{request}",
    &["store", POOL_NAME],
    "callers that wait for a connection now",
);
pub(super) const CONNECTION_TIMEOUTS: Instrument = Instrument::counter(
    "db.client.connection.timeouts",
    "{timeout}",
    &["store", POOL_NAME],
    "callers that got no connection within the acquire timeout",
);
pub(super) const CONNECTION_CREATE_TIME: Instrument = Instrument::histogram(
    "db.client.connection.create_time",
    "s",
    SECONDS,
    &["store", POOL_NAME],
    "time to open a connection, from the look-up of the first host to the end of the login",
);
pub(super) const CONNECTION_WAIT_TIME: Instrument = Instrument::histogram(
    "db.client.connection.wait_time",
    "s",
    SECONDS,
    &["store", POOL_NAME],
    "time from the call until a caller got a connection",
);
pub(super) const CONNECTION_USE_TIME: Instrument = Instrument::histogram(
    "db.client.connection.use_time",
    "s",
    SECONDS,
    &["store", POOL_NAME],
    "time from when a caller got a connection until it was returned or closed",
);
pub(super) const CONNECTION_FAILURES: Instrument = Instrument::counter(
    "eventstore.connection.failures",
    "{failure}",
    &["store", POOL_NAME, "class"],
    "attempts to open a connection that failed on all hosts, also those that no caller sees",
);
pub(super) const OPERATION_DURATION: Instrument = Instrument::histogram(
    "eventstore.operation.duration",
    "s",
    SECONDS,
    &["store", "operation", "outcome", "server"],
    "time from the call of an operation to its result, with all of its attempts and pauses",
);
pub(super) const OPERATION_OUTCOMES: Instrument = Instrument::counter(
    "eventstore.operation.outcomes",
    "{operation}",
    &["store", "operation", "outcome", "server"],
    "operations that ended, by how they ended",
);
pub(super) const PHASE_DURATION: Instrument = Instrument::histogram(
    "eventstore.phase.duration",
    "s",
    SECONDS,
    &["store", "operation", "phase", "server"],
    "time that an operation was in a phase; its phases add up to its duration",
);
pub(super) const EVENTS: Instrument = Instrument::counter(
    "eventstore.events",
    "{event}",
    &["store", "direction", "server"],
    "events read and appended",
);
pub(super) const APPEND_BATCH: Instrument = Instrument::histogram(
    "eventstore.append.batch",
    "{append}",
    &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0],
    &["store"],
    "appends that were sent to the server together",
);
pub(super) const APPEND_QUEUE: Instrument = Instrument::level(
    "eventstore.append.queue",
    "{append}",
    &["store"],
    "appends that wait now for their batch to be sent",
);
pub(super) const CONFLICTS: Instrument = Instrument::counter(
    "eventstore.conflicts",
    "{conflict}",
    &["store", "scope"],
    "appends and decisions whose condition did not hold, each attempt of a decision by itself",
);
pub(super) const ERRORS: Instrument = Instrument::counter(
    "eventstore.errors",
    "{error}",
    &["store", "operation", "class"],
    "operations that failed, without conflicts",
);
pub(super) const DECIDE_ROUNDS: Instrument = Instrument::histogram(
    "eventstore.decide.rounds",
    "{round}",
    &[0.0, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0],
    &["store", "scope"],
    "rounds that a decision lost to conflicts before it ended",
);
pub(super) const DECIDE_ESCALATIONS: Instrument = Instrument::counter(
    "eventstore.decide.escalations",
    "{escalation}",
    &["store", "scope"],
    "decisions that took the log's lock, after several conflicts",
);
pub(super) const DECIDE_EVENTS: Instrument = Instrument::histogram(
    "eventstore.decide.events",
    "{event}",
    &[
        0.0, 1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_500.0, 5_000.0,
        10_000.0,
    ],
    &["store", "scope"],
    "events that the last round of a decision read",
);
pub(super) const REPLICA_LAG: Instrument = Instrument::gauge(
    "eventstore.replica.lag",
    "{event}",
    &["store", "server"],
    "positions that the store knows of, and that a replica has not shown in its last answer",
);
pub(super) const REPLICA_DELAY: Instrument = Instrument::gauge(
    "eventstore.replica.delay",
    "s",
    &["store", "server"],
    "how long the store has known of the first position that a replica has not shown; 0 if none",
);
pub(super) const REPLICA_FALLBACKS: Instrument = Instrument::counter(
    "eventstore.replica.fallbacks",
    "{read}",
    &["store", "reason"],
    "reads that the primary answered as the last resort",
);
pub(super) const REPLICA_FAULTS: Instrument = Instrument::counter(
    "eventstore.replica.faults",
    "{fault}",
    &["store", "server", "reason"],
    "replicas found unfit to be read from, or with a lower head",
);
pub(super) const REPLICA_WAITS: Instrument = Instrument::counter(
    "eventstore.replica.waits",
    "{read}",
    &["store", "outcome"],
    "reads that waited for a position",
);
pub(super) const RETRY_ATTEMPTS: Instrument = Instrument::counter(
    "eventstore.retry.attempts",
    "{attempt}",
    &["store", "scope", "reason", "attempt"],
    "attempts after the first, counted before their pause",
);
pub(super) const RETRY_DELAY: Instrument = Instrument::histogram(
    "eventstore.retry.delay",
    "s",
    SECONDS,
    &["store", "scope"],
    "pauses before attempts; of a canceled pause, the time that passed",
);
pub(super) const RETRY_OUTCOMES: Instrument = Instrument::counter(
    "eventstore.retry.outcomes",
    "{call}",
    &["store", "scope", "outcome"],
    "calls with retries, by how they ended",
);
pub(super) const HANDLER_DURATION: Instrument = Instrument::histogram(
    "eventstore.handler.duration",
    "s",
    SECONDS,
    &["kind", "name", "outcome"],
    "time from the call of a handler to its result, retries included",
);
pub(super) const HANDLER_OUTCOMES: Instrument = Instrument::counter(
    "eventstore.handler.outcomes",
    "{call}",
    &["kind", "name", "outcome"],
    "calls of handlers that ended, by how they ended",
);

/// The instruments of this crate.
///
/// The first ones are those of OpenTelemetry's conventions for database clients. The others are
/// named `eventstore`.
pub const INSTRUMENTS: &[Instrument] = &[
    EXCHANGE_DURATION,
    CONNECTION_COUNT,
    CONNECTION_MAX,
    CONNECTION_PENDING,
    CONNECTION_TIMEOUTS,
    CONNECTION_CREATE_TIME,
    CONNECTION_WAIT_TIME,
    CONNECTION_USE_TIME,
    CONNECTION_FAILURES,
    OPERATION_DURATION,
    OPERATION_OUTCOMES,
    PHASE_DURATION,
    EVENTS,
    APPEND_BATCH,
    APPEND_QUEUE,
    CONFLICTS,
    ERRORS,
    DECIDE_ROUNDS,
    DECIDE_ESCALATIONS,
    DECIDE_EVENTS,
    REPLICA_LAG,
    REPLICA_DELAY,
    REPLICA_FALLBACKS,
    REPLICA_FAULTS,
    REPLICA_WAITS,
    RETRY_ATTEMPTS,
    RETRY_DELAY,
    RETRY_OUTCOMES,
    HANDLER_DURATION,
    HANDLER_OUTCOMES,
];

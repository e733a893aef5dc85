use opentelemetry::global::BoxedTracer;
use opentelemetry::metrics::{Counter, Histogram, Meter};

use super::catalog::{self, Instrument};
use super::handler::Handlers;
use super::observed::Observed;

/// The instruments of the [catalog](super::INSTRUMENTS), made with one meter.
pub(super) struct Instruments {
    pub(super) tracer: BoxedTracer,
    pub(super) exchange_duration: Histogram<f64>,
    pub(super) connection_timeouts: Counter<u64>,
    pub(super) connection_failures: Counter<u64>,
    pub(super) connection_create_time: Histogram<f64>,
    pub(super) connection_wait_time: Histogram<f64>,
    pub(super) connection_use_time: Histogram<f64>,
    pub(super) operation_duration: Histogram<f64>,
    pub(super) operation_outcomes: Counter<u64>,
    pub(super) phase_duration: Histogram<f64>,
    pub(super) events: Counter<u64>,
    pub(super) append_batch: Histogram<f64>,
    pub(super) conflicts: Counter<u64>,
    pub(super) errors: Counter<u64>,
    pub(super) decide_rounds: Histogram<f64>,
    pub(super) decide_escalations: Counter<u64>,
    pub(super) decide_events: Histogram<f64>,
    pub(super) fallbacks: Counter<u64>,
    pub(super) faults: Counter<u64>,
    pub(super) waits: Counter<u64>,
    pub(super) retry_attempts: Counter<u64>,
    pub(super) retry_delay: Histogram<f64>,
    pub(super) retry_outcomes: Counter<u64>,
    pub(super) handlers: Handlers,
    /// What is observed when metrics are collected.
    pub(super) observed: Observed,
}

impl Instruments {
    pub(super) fn new(meter: &Meter, tracer: BoxedTracer) -> Self {
        Self {
            tracer,
            exchange_duration: histogram(meter, &catalog::EXCHANGE_DURATION),
            connection_timeouts: counter(meter, &catalog::CONNECTION_TIMEOUTS),
            connection_failures: counter(meter, &catalog::CONNECTION_FAILURES),
            connection_create_time: histogram(meter, &catalog::CONNECTION_CREATE_TIME),
            connection_wait_time: histogram(meter, &catalog::CONNECTION_WAIT_TIME),
            connection_use_time: histogram(meter, &catalog::CONNECTION_USE_TIME),
            operation_duration: histogram(meter, &catalog::OPERATION_DURATION),
            operation_outcomes: counter(meter, &catalog::OPERATION_OUTCOMES),
            phase_duration: histogram(meter, &catalog::PHASE_DURATION),
            events: counter(meter, &catalog::EVENTS),
            append_batch: histogram(meter, &catalog::APPEND_BATCH),
            conflicts: counter(meter, &catalog::CONFLICTS),
            errors: counter(meter, &catalog::ERRORS),
            decide_rounds: histogram(meter, &catalog::DECIDE_ROUNDS),
            decide_escalations: counter(meter, &catalog::DECIDE_ESCALATIONS),
            decide_events: histogram(meter, &catalog::DECIDE_EVENTS),
            fallbacks: counter(meter, &catalog::REPLICA_FALLBACKS),
            faults: counter(meter, &catalog::REPLICA_FAULTS),
            waits: counter(meter, &catalog::REPLICA_WAITS),
            retry_attempts: counter(meter, &catalog::RETRY_ATTEMPTS),
            retry_delay: histogram(meter, &catalog::RETRY_DELAY),
            retry_outcomes: counter(meter, &catalog::RETRY_OUTCOMES),
            handlers: Handlers::new(
                histogram(meter, &catalog::HANDLER_DURATION),
                counter(meter, &catalog::HANDLER_OUTCOMES),
            ),
            observed: Observed::new(meter),
        }
    }
}

fn counter(meter: &Meter, instrument: &Instrument) -> Counter<u64> {
    meter
        .u64_counter(instrument.name)
        .with_unit(instrument.unit)
        .with_description(instrument.description)
        .build()
}

fn histogram(meter: &Meter, instrument: &Instrument) -> Histogram<f64> {
    meter
        .f64_histogram(instrument.name)
        .with_unit(instrument.unit)
        .with_description(instrument.description)
        .with_boundaries(instrument.boundaries.to_vec())
        .build()
}

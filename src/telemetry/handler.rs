use opentelemetry::metrics::{Counter, Histogram};

/// The series of handlers.
pub(super) struct Handlers {
    _duration: Histogram<f64>,
    _outcomes: Counter<u64>,
}

impl Handlers {
    pub(super) fn new(duration: Histogram<f64>, outcomes: Counter<u64>) -> Self {
        Self { _duration: duration, _outcomes: outcomes }
    }
}

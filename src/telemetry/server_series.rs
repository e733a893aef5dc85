use std::sync::Arc;

use opentelemetry::{KeyValue, StringValue, Value};

use super::OperationName;
use super::operation::Outcome;
use super::phase::OperationPhase;
use super::series::{CountSeries, ValueSeries};
use super::store::StoreSeries;

/// The series of a server of a store.
pub(super) struct ServerSeries {
    pub(super) name: Arc<str>,
    operations: Vec<OperationSeries>,
    pub(super) read: CountSeries,
    pub(super) appended: Option<CountSeries>,
}

/// The series of one operation on a server.
pub(super) struct OperationSeries {
    name: OperationName,
    outcomes: [(CountSeries, ValueSeries); Outcome::ALL.len()],
    phases: Vec<(OperationPhase, ValueSeries)>,
}

impl ServerSeries {
    pub(super) fn new(store: &StoreSeries, name: &Arc<str>) -> Self {
        let instruments = &store.instruments;
        let server = server_attribute(name);
        let events = |direction| {
            let direction = KeyValue::new("direction", direction);
            let attributes = [store.attribute(), direction, server.clone()];
            CountSeries::new(&instruments.events, attributes)
        };
        let names = OperationName::of_role(store.role());
        let operations = names.iter().map(|name| OperationSeries::new(store, *name, &server));
        Self {
            name: name.clone(),
            operations: operations.collect(),
            read: events("read"),
            appended: names.contains(&OperationName::Append).then(|| events("appended")),
        }
    }

    /// Returns the series of an operation, unless stores of this role have no such operation.
    pub(super) fn operation(&self, name: OperationName) -> Option<&OperationSeries> {
        self.operations.iter().find(|series| series.name == name)
    }
}

impl OperationSeries {
    fn new(store: &StoreSeries, name: OperationName, server: &KeyValue) -> Self {
        let instruments = &store.instruments;
        let operation = KeyValue::new("operation", name.as_str());
        let outcomes = Outcome::ALL.map(|outcome| {
            let outcome = KeyValue::new("outcome", outcome.as_str());
            let attributes = [store.attribute(), operation.clone(), outcome, server.clone()];
            let count = CountSeries::new(&instruments.operation_outcomes, attributes.clone());
            (count, ValueSeries::new(&instruments.operation_duration, attributes))
        });
        let phases = name.phases(store.role()).iter().map(|phase| {
            let attribute = KeyValue::new("phase", phase.as_str());
            let attributes = [store.attribute(), operation.clone(), attribute, server.clone()];
            (*phase, ValueSeries::new(&instruments.phase_duration, attributes))
        });
        Self { name, outcomes, phases: phases.collect() }
    }

    /// Records the end of an operation.
    pub(super) fn end(&self, outcome: Outcome, seconds: f64) {
        let (count, duration) = &self.outcomes[outcome as usize];
        count.add(1);
        duration.record(seconds);
    }

    /// Records the time of a phase of an operation that has ended.
    pub(super) fn phase(&self, phase: OperationPhase, seconds: f64) {
        if let Some((_, series)) = self.phases.iter().find(|(one, _)| *one == phase) {
            series.record(seconds);
        }
    }
}

/// Returns the attribute that names a server.
pub(super) fn server_attribute(name: &Arc<str>) -> KeyValue {
    KeyValue::new("server", Value::String(StringValue::from(name.clone())))
}

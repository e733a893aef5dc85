use std::sync::Arc;

use opentelemetry::KeyValue;

use super::exchange::EndpointSeries;
use super::instruments::Instruments;
use super::operation::{Operation, OperationHandle};
use super::retry::RetryCall;
use super::scope::{ScopeSeries, ScopedStore, Scopes};
use super::series::{CountSeries, ValueSeries};
use super::server_series::{ServerSeries, server_attribute};
use super::shared_list::SharedList;
use super::{OperationName, Telemetry};
use crate::error::Reason;
use crate::server::Server;
use crate::{Class, Role};

/// The telemetry of one store, which all of its parts share.
#[derive(Clone)]
pub(crate) struct StoreTelemetry(pub(super) Arc<StoreSeries>);

/// The series of one store.
pub(super) struct StoreSeries {
    pub(super) instruments: Arc<Instruments>,
    /// The attribute that names the store.
    pub(super) store: KeyValue,
    role: Role,
    servers: SharedList<ServerSeries>,
    pub(super) endpoints: SharedList<EndpointSeries>,
    scopes: Scopes,
    errors: Vec<ErrorSeries>,
    pub(super) batch: Option<ValueSeries>,
}

/// The errors of an operation, by class.
struct ErrorSeries {
    operation: OperationName,
    classes: Vec<(Class, CountSeries)>,
}

impl Telemetry {
    /// Returns the telemetry of a store.
    pub(crate) fn of_store(&self, name: &str, role: Role) -> StoreTelemetry {
        let instruments = self.instruments.clone();
        let store = KeyValue::new("store", name.to_owned());
        let errors = OperationName::of_role(role).iter().map(|operation| {
            let count = |class: &Class| {
                let attributes = [
                    store.clone(),
                    KeyValue::new("operation", operation.as_str()),
                    KeyValue::new("class", class.as_str()),
                ];
                (*class, CountSeries::new(&instruments.errors, attributes))
            };
            ErrorSeries {
                operation: *operation,
                classes: ERROR_CLASSES.iter().map(count).collect(),
            }
        });
        let errors = errors.collect();
        let batch = (role == Role::Primary)
            .then(|| ValueSeries::new(&instruments.append_batch, [store.clone()]));
        StoreTelemetry(Arc::new(StoreSeries {
            instruments,
            store,
            role,
            servers: SharedList::default(),
            endpoints: SharedList::default(),
            scopes: Scopes::default(),
            errors,
            batch,
        }))
    }
}

impl StoreTelemetry {
    /// Makes the series of a server visible before the server has answered anything.
    pub(crate) fn announce(&self, server: &Server) {
        self.0.server(server);
        self.0.endpoint(server);
    }

    /// Makes the series of a scope visible before there is anything to count.
    pub(crate) fn announce_scope(&self, scope: &'static str) {
        self.0.scope(scope);
    }

    /// Makes the series of a replica visible before there is anything to count.
    pub(crate) fn announce_replica(&self, server: &Server) {
        for reason in ["backwards", "diverged", "duplicate", "other_log", "promoted"] {
            self.count_fault(server, reason, 0);
        }
        for outcome in ["behind", "reached"] {
            self.0.waited(outcome, 0);
        }
    }

    /// Counts that a replica was found unfit to be read from.
    pub(crate) fn replica_fault(&self, server: &Server, reason: &'static str) {
        self.count_fault(server, reason, 1);
        #[cfg(feature = "tracing")]
        super::logs::replica_fault(&self.0.store, &server.name, reason);
    }

    fn count_fault(&self, server: &Server, reason: &'static str, count: u64) {
        let reason = KeyValue::new("reason", reason);
        let attributes = [self.0.attribute(), server_attribute(&server.name), reason];
        self.0.instruments.faults.add(count, &attributes);
    }

    /// Makes the series of a store that may read from the primary visible.
    pub(crate) fn announce_fallbacks(&self) {
        for reason in ["behind", "unreachable"] {
            self.0.fell_back(reason, 0);
        }
    }

    /// Starts an operation.
    pub(crate) fn operation(
        &self,
        name: OperationName,
        scope: &'static str,
        server: &Server,
    ) -> Operation {
        Operation::start(self.0.clone(), name, scope, self.0.server(server))
    }

    /// Makes a guard that counts a call with retries from when it begins.
    pub(crate) fn retry(&self, scope: &'static str) -> RetryCall {
        RetryCall::new(self.0.scope(scope))
    }

    /// Counts the end of a decision.
    pub(crate) fn decided(&self, scope: &'static str, lost_rounds: u32, events: Option<u64>) {
        self.0.scope(scope).decided(lost_rounds, events);
    }

    /// Counts that a decision takes the log's lock.
    pub(crate) fn escalated(&self, scope: &'static str) {
        self.0.scope(scope).escalated();
        #[cfg(feature = "tracing")]
        super::logs::escalation(&self.0.store, scope);
    }

    /// Makes the handle of something that is done for no operation.
    pub(crate) fn background(&self) -> OperationHandle {
        OperationHandle::background(self.0.clone())
    }
}

impl StoreSeries {
    pub(super) fn attribute(&self) -> KeyValue {
        self.store.clone()
    }

    pub(super) fn role(&self) -> Role {
        self.role
    }

    /// Returns the series of a server, by its name.
    pub(super) fn server(&self, server: &Server) -> Arc<ServerSeries> {
        self.servers.find_or_add(
            |series| *series.name == *server.name,
            || ServerSeries::new(self, &server.name),
        )
    }

    /// Returns the series of a scope.
    pub(super) fn scope(&self, name: &'static str) -> Arc<ScopeSeries> {
        let store = ScopedStore { attribute: &self.store, decides: self.role == Role::Primary };
        self.scopes.get(&self.instruments, Some(store), name)
    }

    /// Counts reads that waited for a position.
    pub(super) fn waited(&self, outcome: &'static str, count: u64) {
        let attributes = [self.attribute(), KeyValue::new("outcome", outcome)];
        self.instruments.waits.add(count, &attributes);
    }

    /// Counts reads that the primary answers as the last resort.
    pub(super) fn fell_back(&self, reason: &'static str, count: u64) {
        let attributes = [self.attribute(), KeyValue::new("reason", reason)];
        self.instruments.fallbacks.add(count, &attributes);
    }

    pub(super) fn count_error(&self, operation: OperationName, class: Class) {
        let series = self.errors.iter().find(|series| series.operation == operation);
        let class = series.and_then(|series| series.classes.iter().find(|one| one.0 == class));
        if let Some((_, count)) = class {
            count.add(1);
        }
    }
}

/// The classes of failed operations. A conflict is counted as such, not as an error.
pub(super) const ERROR_CLASSES: [Class; 10] = [
    Class::Canceled,
    Class::OutcomeUnknown,
    Class::Permanent(Reason::Authentication),
    Class::Permanent(Reason::Bug),
    Class::Permanent(Reason::Invalid),
    Class::Permanent(Reason::Permission),
    Class::Permanent(Reason::Resource),
    Class::Permanent(Reason::Schema),
    Class::Timeout,
    Class::Transient,
];

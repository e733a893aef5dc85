use std::sync::{Arc, Weak};
use std::time::Duration;

use super::levels::{Observable, PoolLevels, QueueLevel, ReplicaLevels};
use super::{HandlerKind, HandlerOutcome, OperationName, OperationPhase, Request};
use crate::server::Server;
use crate::{Class, Error, Role};

/// Where stores send their metrics and traces. Without the feature `telemetry` there are none.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Telemetry {}

impl Telemetry {
    /// Makes a handler whose calls are not recorded.
    pub fn handler(&self, kind: HandlerKind, name: &str) -> Handler {
        Handler { kind, name: name.into() }
    }

    pub(crate) fn of_store(&self, _: &str, _: Role) -> StoreTelemetry {
        StoreTelemetry {}
    }

    pub(crate) fn retry(&self, _: &'static str) -> RetryCall {
        RetryCall {}
    }
}

/// A handler of commands or of queries. Without the feature `telemetry` its calls are not recorded.
#[derive(Clone, Debug)]
pub struct Handler {
    #[expect(dead_code, reason = "shown by Debug")]
    kind: HandlerKind,
    #[expect(dead_code, reason = "shown by Debug")]
    name: Arc<str>,
}

impl Handler {
    /// Awaits a future.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the future, with the effects that this has on it.
    pub async fn run<F: Future>(
        &self,
        future: F,
        _: impl FnOnce(&F::Output) -> HandlerOutcome,
    ) -> F::Output {
        future.await
    }
}

/// The telemetry of a store that records nothing.
#[derive(Clone)]
pub(crate) struct StoreTelemetry {}

impl StoreTelemetry {
    pub(crate) fn announce(&self, _: &Server) {}

    pub(crate) fn handler(&self, kind: HandlerKind, name: &str) -> Handler {
        Handler { kind, name: name.into() }
    }

    pub(crate) fn announce_scope(&self, _: &'static str) {}

    pub(crate) fn announce_replica(&self, _: &Server) {}

    pub(crate) fn announce_fallbacks(&self) {}

    pub(crate) fn replica_fault(&self, _: &Server, _: &'static str) {}

    pub(crate) fn operation(&self, _: OperationName, _: &'static str, _: &Server) -> Operation {
        Operation { handle: OperationHandle {} }
    }

    pub(crate) fn retry(&self, _: &'static str) -> RetryCall {
        RetryCall {}
    }

    pub(crate) fn decided(&self, _: &'static str, _: u32, _: Option<u64>) {}

    pub(crate) fn escalated(&self, _: &'static str) {}

    pub(crate) fn background(&self) -> OperationHandle {
        OperationHandle {}
    }

    pub(crate) fn pool(&self, _: &str) -> PoolTelemetry {
        PoolTelemetry {}
    }

    pub(crate) fn observe_queue(&self, _: Weak<dyn Observable<QueueLevel>>) {}

    pub(crate) fn observe_replicas(&self, _: Weak<dyn Observable<Vec<ReplicaLevels>>>) {}
}

/// The telemetry of a pool that records nothing.
#[derive(Clone)]
pub(crate) struct PoolTelemetry {}

impl PoolTelemetry {
    pub(crate) fn none() -> Self {
        Self {}
    }

    pub(crate) fn observe(&self, _: Weak<dyn Observable<PoolLevels>>) {}

    pub(crate) fn opened(&self, _: Duration) {}

    pub(crate) fn failed(&self, _: &Error) {}

    pub(crate) fn acquired(&self, _: Duration) {}

    pub(crate) fn timed_out(&self) {}

    pub(crate) fn released(&self, _: Duration) {}
}

/// An operation that is not recorded.
pub(crate) struct Operation {
    handle: OperationHandle,
}

impl Operation {
    pub(crate) fn handle(&self) -> &OperationHandle {
        &self.handle
    }

    pub(crate) fn retry(&self) -> RetryCall {
        RetryCall {}
    }

    pub(crate) fn served_by(&mut self, _: &Server) {}

    pub(crate) fn waited(&self, _: &'static str) {}

    pub(crate) fn fell_back(&self, _: &'static str) {}

    pub(crate) fn count_read(&mut self, _: u64) {}

    pub(crate) fn count_appended(&mut self, _: u64) {}

    pub(crate) fn succeed(self) {}

    pub(crate) fn fail(self, _: &Error) {}

    pub(crate) fn finish<T>(self, result: Result<T, Error>) -> Result<T, Error> {
        result
    }
}

/// A handle to an operation that is not recorded.
#[derive(Clone)]
pub(crate) struct OperationHandle {}

impl OperationHandle {
    pub(crate) fn enter(&self, _: OperationPhase) {}

    pub(crate) async fn working<F: Future>(&self, answer: F) -> F::Output {
        answer.await
    }

    pub(crate) fn exchange(&self, _: Request, _: &Server) -> Exchange {
        Exchange {}
    }

    pub(crate) fn batch_exchange<'a>(
        _: impl Iterator<Item = &'a Self> + Clone,
        _: &Server,
    ) -> Option<Exchange> {
        Some(Exchange {})
    }
}

/// An exchange that is not recorded.
pub(crate) struct Exchange {}

impl Exchange {
    pub(crate) fn answered(self) {}

    pub(crate) fn failed(self, _: &Error) {}

    pub(crate) fn refused(self, _: &'static str) {}

    pub(crate) fn finish<T>(self, _: &Result<T, Error>) {}
}

/// A call with retries that is not recorded.
pub(crate) struct RetryCall {}

impl RetryCall {
    pub(crate) fn of_operation(self, _: &OperationHandle) -> Self {
        self
    }

    pub(crate) fn begin(&mut self) {}

    pub(crate) fn retry(&mut self, _: u32, _: Class, _: Duration) {}

    pub(crate) fn paused(&mut self) {}

    pub(crate) fn end(&mut self, _: &'static str) {}
}

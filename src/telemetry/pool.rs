use std::sync::{Arc, Weak};
use std::time::Duration;

use opentelemetry::KeyValue;

use super::catalog::POOL_NAME;
use super::instruments::Instruments;
use super::levels::{Observable, PoolLevels, QueueLevel, ReplicaLevels};
use super::series::{CountSeries, ValueSeries};
use super::store::{ERROR_CLASSES, StoreTelemetry};
use crate::{Class, Error};

/// The telemetry of a pool of connections.
#[derive(Clone)]
pub(crate) struct PoolTelemetry(Option<Arc<PoolSeries>>);

/// The series of a pool.
struct PoolSeries {
    instruments: Arc<Instruments>,
    of_pool: [KeyValue; 2],
    timeouts: CountSeries,
    failures: [(Class, CountSeries); ERROR_CLASSES.len()],
    create_time: ValueSeries,
    wait_time: ValueSeries,
    use_time: ValueSeries,
}

impl StoreTelemetry {
    /// Returns the telemetry of a pool of the store, and makes its series visible.
    pub(crate) fn pool(&self, name: &str) -> PoolTelemetry {
        let instruments = self.0.instruments.clone();
        let of_pool = [self.0.attribute(), KeyValue::new(POOL_NAME, name.to_owned())];
        let failures = ERROR_CLASSES.map(|class| {
            let attributes = failure_attributes(&of_pool, class);
            (class, CountSeries::new(&instruments.connection_failures, attributes))
        });
        PoolTelemetry(Some(Arc::new(PoolSeries {
            timeouts: CountSeries::new(&instruments.connection_timeouts, of_pool.clone()),
            failures,
            create_time: ValueSeries::new(&instruments.connection_create_time, of_pool.clone()),
            wait_time: ValueSeries::new(&instruments.connection_wait_time, of_pool.clone()),
            use_time: ValueSeries::new(&instruments.connection_use_time, of_pool.clone()),
            of_pool,
            instruments,
        })))
    }

    /// Shows how many appends wait, until the queue is dropped.
    pub(crate) fn observe_queue(&self, queue: Weak<dyn Observable<QueueLevel>>) {
        self.0.instruments.observed.queues.add(vec![self.0.attribute()], queue);
    }

    /// Shows how far replicas lie behind, until what is known of them is dropped.
    pub(crate) fn observe_replicas(&self, replicas: Weak<dyn Observable<Vec<ReplicaLevels>>>) {
        self.0.instruments.observed.replicas.add(vec![self.0.attribute()], replicas);
    }
}

impl PoolTelemetry {
    /// Makes the telemetry of a pool that belongs to no store: it records nothing.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Shows the connections and the waiting callers of the pool, until it is dropped.
    pub(crate) fn observe(&self, pool: Weak<dyn Observable<PoolLevels>>) {
        let Some(series) = &self.0 else { return };
        series.instruments.observed.pools.add(series.of_pool.to_vec(), pool);
    }

    /// Records that a connection was opened.
    pub(crate) fn opened(&self, took: Duration) {
        let Some(series) = &self.0 else { return };
        series.create_time.record(took.as_secs_f64());
    }

    /// Counts a failed attempt to open a connection.
    pub(crate) fn failed(&self, error: &Error) {
        let Some(series) = &self.0 else { return };
        let class = error.class();
        match series.failures.iter().find(|(one, _)| *one == class) {
            Some((_, count)) => count.add(1),
            None => {
                let attributes = failure_attributes(&series.of_pool, class);
                series.instruments.connection_failures.add(1, &attributes);
            }
        }
        #[cfg(feature = "tracing")]
        super::logs::connection_failed(&series.of_pool, error);
    }

    /// Records that a caller got a connection.
    pub(crate) fn acquired(&self, waited: Duration) {
        let Some(series) = &self.0 else { return };
        series.wait_time.record(waited.as_secs_f64());
    }

    /// Counts a caller that got no connection in time.
    pub(crate) fn timed_out(&self) {
        let Some(series) = &self.0 else { return };
        series.timeouts.add(1);
    }

    /// Records that a caller returned a connection, or closed it.
    pub(crate) fn released(&self, used: Duration) {
        let Some(series) = &self.0 else { return };
        series.use_time.record(used.as_secs_f64());
    }
}

fn failure_attributes(of_pool: &[KeyValue; 2], class: Class) -> [KeyValue; 3] {
    let [store, pool] = of_pool.clone();
    [store, pool, KeyValue::new("class", class.as_str())]
}

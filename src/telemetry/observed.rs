use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrumentBuilder, Meter};

use super::catalog::{self, CONNECTION_STATE, Instrument};
use super::levels::{Observable, PoolLevels, QueueLevel, ReplicaLevels};
use super::server_series::server_attribute;

/// The parts of stores that are observed when metrics are collected. The series of a part end with
/// it.
pub(super) struct Observed {
    pub(super) pools: Arc<Sources<PoolLevels>>,
    pub(super) queues: Arc<Sources<QueueLevel>>,
    pub(super) replicas: Arc<Sources<Vec<ReplicaLevels>>>,
}

impl Observed {
    /// Makes the instruments. Their callbacks live as long as the provider of the meter.
    pub(super) fn new(meter: &Meter) -> Self {
        let pools = Arc::default();
        level(meter, &catalog::CONNECTION_COUNT, &pools, |pool: &PoolLevels| {
            let state = |state| vec![KeyValue::new(CONNECTION_STATE, state)];
            vec![(state("idle"), pool.idle.into()), (state("used"), pool.used.into())]
        });
        level(meter, &catalog::CONNECTION_MAX, &pools, |pool| vec![(Vec::new(), pool.max.into())]);
        level(meter, &catalog::CONNECTION_PENDING, &pools, |pool| {
            vec![(Vec::new(), pool.waiting.into())]
        });
        let queues = Arc::default();
        level(meter, &catalog::APPEND_QUEUE, &queues, |queue: &QueueLevel| {
            vec![(Vec::new(), i64::try_from(queue.waiting).unwrap_or(i64::MAX))]
        });
        let replicas: Arc<Sources<Vec<ReplicaLevels>>> = Arc::default();
        let (builder, observed) =
            (meter.u64_observable_gauge(catalog::REPLICA_LAG.name), replicas.clone());
        described(builder, &catalog::REPLICA_LAG)
            .with_callback(move |observer| {
                let lags = observed.combined(|all| of_each(all, |one| one.lag), u64::max);
                lags.iter().for_each(|(attributes, lag)| observer.observe(*lag, attributes));
            })
            .build();
        let (builder, observed) =
            (meter.f64_observable_gauge(catalog::REPLICA_DELAY.name), replicas.clone());
        described(builder, &catalog::REPLICA_DELAY)
            .with_callback(move |observer| {
                let seconds = |one: &ReplicaLevels| one.delay.as_secs_f64();
                let delays = observed.combined(|all| of_each(all, seconds), f64::max);
                delays.iter().for_each(|(attributes, delay)| observer.observe(*delay, attributes));
            })
            .build();
        Self { pools, queues, replicas }
    }
}

/// Makes an up-down counter of the sums over all parts with the same attributes.
fn level<T: 'static>(
    meter: &Meter,
    instrument: &'static Instrument,
    sources: &Arc<Sources<T>>,
    values: impl Fn(&T) -> Vec<(Vec<KeyValue>, i64)> + Send + Sync + 'static,
) {
    let sources = sources.clone();
    described(meter.i64_observable_up_down_counter(instrument.name), instrument)
        .with_callback(move |observer| {
            let levels = sources.combined(&values, i64::saturating_add);
            levels.iter().for_each(|(attributes, level)| observer.observe(*level, attributes));
        })
        .build();
}

fn described<'a, I, M>(
    builder: AsyncInstrumentBuilder<'a, I, M>,
    instrument: &Instrument,
) -> AsyncInstrumentBuilder<'a, I, M> {
    builder.with_unit(instrument.unit).with_description(instrument.description)
}

fn of_each<V>(
    replicas: &[ReplicaLevels],
    value: impl Fn(&ReplicaLevels) -> V,
) -> Vec<(Vec<KeyValue>, V)> {
    replicas.iter().map(|one| (vec![server_attribute(&one.name)], value(one))).collect()
}

/// Parts of stores, each with the attributes of its series.
pub(super) struct Sources<T>(Mutex<Vec<Source<T>>>);

struct Source<T> {
    attributes: Vec<KeyValue>,
    part: Weak<dyn Observable<T>>,
}

impl<T> Default for Sources<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Sources<T> {
    /// Adds a part, which is observed until it is dropped.
    pub(super) fn add(&self, attributes: Vec<KeyValue>, part: Weak<dyn Observable<T>>) {
        let mut sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sources.retain(|source| source.part.strong_count() > 0);
        sources.push(Source { attributes, part });
    }

    /// Returns the values of all parts. Values with the same attributes are combined: the SDK would
    /// keep the last one.
    fn combined<V: Copy>(
        &self,
        values: impl Fn(&T) -> Vec<(Vec<KeyValue>, V)>,
        combine: impl Fn(V, V) -> V,
    ) -> HashMap<Vec<KeyValue>, V> {
        let mut combined = HashMap::new();
        for (of_part, part) in self.parts() {
            for (attributes, value) in values(&part.state()) {
                let attributes = [&of_part[..], &attributes].concat();
                let sum = combined.entry(attributes).and_modify(|sum| *sum = combine(*sum, value));
                sum.or_insert(value);
            }
        }
        combined
    }

    /// Returns the parts that exist, so that none is asked while the list is locked.
    fn parts(&self) -> Vec<(Vec<KeyValue>, Arc<dyn Observable<T>>)> {
        let sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let part = |source: &Source<T>| Some((source.attributes.clone(), source.part.upgrade()?));
        sources.iter().filter_map(part).collect()
    }
}

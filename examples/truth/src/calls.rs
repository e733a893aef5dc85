//! The caller's own clock and count: what the program itself saw of each call.

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use eddyline::Error;

/// The calls of the program, timed and counted by the program. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Calls(Arc<Mutex<Ended>>);

/// The calls that have ended.
#[derive(Clone, Debug, Default)]
pub struct Ended {
    /// The durations of the calls, in seconds, by store, operation and outcome.
    pub durations: BTreeMap<CallKind, Vec<f64>>,
    /// Whole numbers that the program counted, by the names that it gave them.
    pub counts: BTreeMap<Count, u64>,
}

/// The store, the operation and the outcome of calls.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct CallKind {
    /// The name of the store.
    pub store: &'static str,
    /// The operation, as the metrics name it.
    pub operation: &'static str,
    /// The outcome, as the metrics name it.
    pub outcome: &'static str,
}

/// What is counted: a sample of Prometheus, and its labels as far as the program knows them.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Count {
    /// The name of the sample.
    pub sample: &'static str,
    /// The labels.
    pub labels: Vec<(&'static str, String)>,
}

impl Calls {
    /// Awaits a call. If the returned future is dropped before, the call was canceled.
    ///
    /// # Errors
    ///
    /// That of the call.
    pub async fn observe<T>(
        &self,
        store: &'static str,
        operation: &'static str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let clock = self.begin(store, operation);
        // The call is dropped before the clock, so that the clock measures all of it.
        let result = call.await;
        clock.end(&result);
        result
    }

    /// Begins a call that ends when [`Clock::end`] is called.
    pub fn begin(&self, store: &'static str, operation: &'static str) -> Clock {
        let kind = CallKind { store, operation, outcome: "canceled" };
        Clock { calls: self.clone(), kind, started: Instant::now() }
    }

    /// Adds to a count of the program.
    pub fn count(&self, sample: &'static str, labels: &[(&'static str, &str)], number: u64) {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        *self.lock().counts.entry(Count { sample, labels }).or_insert(0) += number;
    }

    /// Returns what has ended since the last call of this method.
    pub fn take(&self) -> Ended {
        mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Ended> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The clock of a call.
#[derive(Debug)]
pub struct Clock {
    calls: Calls,
    kind: CallKind,
    started: Instant,
}

impl Clock {
    /// Ends the call with its result.
    pub fn end<T>(mut self, result: &Result<T, Error>) {
        self.kind.outcome = match result {
            Ok(_) => "success",
            Err(error) if error.is_conflict() => "conflict",
            Err(error) if error.is_timeout() => "timeout",
            Err(_) => "error",
        };
        if let Err(error) = result
            && !error.is_conflict()
        {
            let CallKind { store, operation, .. } = self.kind;
            let class = error.class().as_str();
            let labels = [("store", store), ("operation", operation), ("class", class)];
            self.calls.count("eventstore_errors_total", &labels, 1);
        }
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        let duration = self.started.elapsed().as_secs_f64();
        self.calls.lock().durations.entry(self.kind).or_default().push(duration);
    }
}

impl Count {
    /// Returns the labels, to select series with them.
    pub fn selected(&self) -> Vec<(&str, &str)> {
        self.labels.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }
}

impl Ended {
    /// Adds the calls of another one.
    pub fn add(&mut self, other: &Self) {
        for (kind, durations) in &other.durations {
            self.durations.entry(*kind).or_default().extend(durations);
        }
        for (count, number) in &other.counts {
            *self.counts.entry(count.clone()).or_insert(0) += number;
        }
    }
}

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;
use uuid::Uuid;

use super::samples::Sampled;
use super::{CurrentLoad, Phase, State};
use crate::tally::{Distribution, Second, Snapshot};

/// What a page gets each time that it asks.
#[derive(Debug, Serialize)]
pub(super) struct Document {
    /// The name of this run of the load generator.
    run: Uuid,
    /// What the load generator does now.
    pub(super) phase: Phase,
    /// The planned duration of the load, in seconds.
    duration: Option<f64>,
    /// The counts since the start of the load. `None` before it.
    load: Option<Snapshot>,
    /// The last seconds of the load.
    seconds: Vec<Second>,
    /// The metrics at the ends of the last seconds.
    samples: Vec<Sampled>,
}

/// The counts since the start of the load, as they were a moment ago.
#[derive(Debug)]
pub(super) struct Totals {
    snapshot: Snapshot,
    taken: Instant,
}

impl Document {
    /// Returns what is new after a second of the load.
    pub(super) fn new(run: Uuid, state: &mut State, after: Option<u64>) -> Self {
        let phase = state.phase;
        let Some(load) = &mut state.load else {
            let (seconds, samples) = (Vec::new(), Vec::new());
            return Self { run, phase, duration: None, load: None, seconds, samples };
        };
        Self {
            run,
            phase,
            duration: load.duration.map(|duration| duration.as_secs_f64()),
            load: Some(load.totals().clone()),
            seconds: load.seconds(after),
            samples: state.samples.after(after),
        }
    }
}

impl CurrentLoad {
    /// Keeps the counts as they are now.
    pub(super) fn end(&mut self) {
        let totals = self.take_totals();
        self.last = Some(totals.snapshot.seconds as u64);
        self.totals = Some(totals);
    }

    /// Returns the counts. A snapshot takes milliseconds, so that pages share one for a moment.
    fn totals(&mut self) -> &Snapshot {
        let has_ended = self.last.is_some();
        let is_current = |totals: &Totals| has_ended || totals.taken.elapsed() < SHARED_FOR;
        let totals = self.totals.take().filter(is_current);
        let totals = totals.unwrap_or_else(|| self.take_totals());
        &self.totals.insert(totals).snapshot
    }

    fn take_totals(&self) -> Totals {
        Totals { snapshot: without_course(self.tally.snapshot()), taken: Instant::now() }
    }

    /// Returns the complete seconds of the load after another one.
    fn seconds(&self, after: Option<u64>) -> Vec<Second> {
        let mut seconds = self.tally.seconds(after);
        seconds.retain(|second| self.last.is_none_or(|last| second.at <= last));
        seconds
    }
}

/// Leaves out what a page does not show, and what it gets as seconds.
fn without_course(mut snapshot: Snapshot) -> Snapshot {
    snapshot.windows = Vec::new();
    let operations: &mut BTreeMap<_, _> = &mut snapshot.operations;
    let latencies = operations.values_mut().map(|figures| &mut figures.latencies);
    for latencies in latencies.chain([&mut snapshot.commands, &mut snapshot.queries]) {
        clear(&mut latencies.latency);
        clear(&mut latencies.service);
    }
    snapshot
}

fn clear(distribution: &mut Distribution) {
    distribution.curve = Vec::new();
}

const SHARED_FOR: Duration = Duration::from_millis(500);

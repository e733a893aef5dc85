use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval_at};

use super::{Live, Phase};
use crate::telemetry::{Instrumentation, Series};

/// The metrics of the last minutes.
#[derive(Debug, Default)]
pub(super) struct Samples {
    list: VecDeque<Sampled>,
}

/// The metrics at the end of a second of the load.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sampled {
    /// When the second began, in seconds since the start of the load. -1 for the sample at the
    /// start of the load.
    pub at: i64,
    /// The metrics that the page shows.
    pub series: Vec<Series>,
}

impl Samples {
    /// Returns the samples after a second of the load, or all.
    pub(super) fn after(&self, second: Option<u64>) -> Vec<Sampled> {
        let second = second.and_then(|second| i64::try_from(second).ok());
        let is_later = |one: &&Sampled| second.is_none_or(|second| one.at > second);
        self.list.iter().filter(is_later).cloned().collect()
    }

    fn add(&mut self, sample: Sampled) {
        self.list.push_back(sample);
        if self.list.len() > MOST {
            self.list.pop_front();
        }
    }
}

/// Takes a sample at the start of a load and at the end of each of its seconds, until it has ended.
pub(super) async fn sample(live: Live, instrumentation: Arc<Instrumentation>, start: Instant) {
    let mut ticks = interval_at(start.into(), SECOND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let tick = ticks.tick().await;
        let from = Arc::clone(&instrumentation);
        // All instruments are asked, which can take some milliseconds.
        let Ok(series) = spawn_blocking(move || from.series(&SHOWN)).await else { return };
        let seconds = tick.duration_since(start.into()).as_secs();
        let at = i64::try_from(seconds).unwrap_or(i64::MAX) - 1;
        let mut state = live.state();
        if state.phase != Phase::Running {
            return;
        }
        state.samples.add(Sampled { at, series });
    }
}

const SECOND: Duration = Duration::from_secs(1);
/// The number of samples that are kept: five minutes.
const MOST: usize = 300;
/// The metrics that the page shows, as Prometheus names them, each with the labels by which it shows
/// them. What the tally counts is not among them.
const SHOWN: [(&str, &[&str]); 17] = [
    ("db_client_connection_count", &["store", POOL, "db_client_connection_state"]),
    ("db_client_connection_pending_requests", &["store", POOL]),
    ("db_client_connection_timeouts_total", &[]),
    ("db_client_connection_wait_time_seconds", &["store", POOL]),
    ("eventstore_append_batch", &[]),
    ("eventstore_append_queue", &[]),
    ("eventstore_connection_failures_total", &[]),
    ("eventstore_errors_total", &["class"]),
    ("eventstore_events_total", &["direction"]),
    ("eventstore_operation_outcomes_total", &["operation", "outcome"]),
    ("eventstore_phase_duration_seconds", &["operation", "phase"]),
    ("eventstore_replica_delay_seconds", &["server"]),
    ("eventstore_replica_fallbacks_total", &["reason"]),
    ("eventstore_replica_lag", &["server"]),
    ("eventstore_retry_attempts_total", &["reason"]),
    ("eventstore_retry_delay_seconds", &[]),
    ("eventstore_retry_outcomes_total", &["outcome"]),
];
const POOL: &str = "db_client_connection_pool_name";

//! What the servers say of themselves during a load.

mod counter;
mod observations;
mod session;
mod watched;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use console::error_chain;
use futures_util::future::join_all;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval_at, timeout};

pub use self::observations::{Batches, Observations, Sample, ServerObservation};
use self::session::State;
use self::watched::Watched;
use crate::servers::Servers;

/// A task that samples the state of all servers during a load.
#[derive(Debug)]
pub struct Observer {
    task: JoinHandle<Observations>,
    /// Dropping it ends the task.
    end: oneshot::Sender<()>,
    start: Instant,
}

impl Observer {
    /// Takes a first sample of each server, and continues in the background. The log must exist.
    /// Times are counted from the end of this first sample, which can take a second if a server
    /// does not answer.
    ///
    /// Each sample costs a server three short statements on one connection, of which one reads
    /// `pg_stat_statements`.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped at any time.
    pub async fn start(servers: &Servers, interval: Duration) -> Self {
        let watched = servers.sql().into_iter().map(Watched::new);
        let mut observed = Observed {
            servers: servers.clone(),
            table: servers.table(),
            start: Instant::now(),
            watched: watched.collect(),
            first_head: None,
        };
        observed.sample_cpu().await;
        observed.sample().await;
        observed.start = Instant::now();
        let start = observed.start;
        let (end, ended) = oneshot::channel();
        Self { task: tokio::spawn(observed.run(interval, ended)), end, start }
    }

    /// Returns the time from which the times of samples are counted.
    pub fn started(&self) -> Instant {
        self.start
    }

    /// Returns the interval between samples of a load of this duration: a second, or longer so that
    /// there are few samples.
    pub fn interval(duration: Duration) -> Duration {
        duration.div_f64(MOST_SAMPLES).max(Duration::from_secs(1))
    }

    /// Takes a last sample, and reads the sizes of the transactions from the log.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the observations are lost.
    pub async fn finish(self) -> Observations {
        let Self { task, end, start: _ } = self;
        drop(end);
        task.await.unwrap_or_else(|error| {
            let not_observed = vec![format!("the observer failed: {}", error_chain(&error))];
            Observations { not_observed, ..Observations::default() }
        })
    }
}

/// The servers that are observed, with what is known of them so far.
struct Observed {
    servers: Servers,
    table: String,
    start: Instant,
    watched: Vec<Watched>,
    /// The head of the log at the first sample.
    first_head: Option<i64>,
}

impl Observed {
    async fn run(mut self, interval: Duration, mut ended: oneshot::Receiver<()>) -> Observations {
        let mut ticks = interval_at(tokio::time::Instant::now() + interval, interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut samples: u32 = 0;
        loop {
            tokio::select! {
                biased;
                _ = &mut ended => break,
                _ = ticks.tick() => self.sample().await,
            }
            samples += 1;
            if samples.is_multiple_of(SAMPLES_PER_CPU_SAMPLE) {
                self.sample_cpu().await;
            }
        }
        self.sample().await;
        self.sample_cpu().await;
        self.finish().await
    }

    /// Samples all servers at the same time.
    async fn sample(&mut self) {
        let at = Instant::now().saturating_duration_since(self.start).as_secs_f64();
        let (table, longest) = (&self.table, LONGEST_ANSWER);
        let samples = self.watched.iter_mut().map(|server| server.sample(at, table, longest));
        let states = join_all(samples).await;
        let primaries = states.iter().enumerate().filter_map(|(index, state)| match state {
            Some(state) if !state.is_replica => Some((index, *state)),
            _ => None,
        });
        // For a moment, a former primary may answer as well.
        let Some((primary, state)) = primaries.max_by_key(|(_, state)| state.head) else { return };
        self.first_head.get_or_insert(state.head);
        self.measure_lags(&states, primary, state).await;
    }

    /// Asks the primary for the lag of each replica that answered. Only the primary's clock plays a
    /// part.
    async fn measure_lags(&mut self, states: &[Option<State>], primary: usize, state: State) {
        let replicas = states.iter().enumerate().filter_map(|(index, state)| match state {
            Some(state) if state.is_replica => Some((index, state.head)),
            _ => None,
        });
        let (indexes, heads): (Vec<usize>, Vec<i64>) = replicas.unzip();
        let Some(session) = self.watched[primary].session() else { return };
        if heads.is_empty() {
            return;
        }
        if let Ok(Ok(lags)) = timeout(LONGEST_ANSWER, session.lags(&heads, state)).await {
            for (index, lag) in indexes.into_iter().zip(lags) {
                self.watched[index].set_lag(lag);
            }
        }
    }

    /// Samples the CPU time of the servers that run on this machine.
    async fn sample_cpu(&mut self) {
        let Some(embedded) = self.servers.embedded().cloned() else { return };
        let count = self.watched.len();
        // It reads the files of all processes.
        let times = spawn_blocking(move || {
            (0..count).map(|index| embedded.server(index).cpu_time().ok()).collect::<Vec<_>>()
        });
        for (server, time) in self.watched.iter_mut().zip(times.await.unwrap_or_default()) {
            if let Some(time) = time {
                server.cpu_seconds.advance(time.as_secs_f64());
            }
        }
    }

    async fn finish(self) -> Observations {
        let mut not_observed = BTreeSet::new();
        let batches = self.batches().await;
        if batches.is_none() {
            not_observed
                .insert("the sizes of transactions: no primary answered in time".to_owned());
        }
        let roles = self.servers.embedded().map(|embedded| embedded.roles());
        let mut servers = Vec::new();
        for (index, watched) in self.watched.into_iter().enumerate() {
            let names = roles.iter().flat_map(|roles| roles.names(index).iter().skip(1));
            let (server, missing) = watched.finish(names.map(ToString::to_string).collect());
            servers.push(server);
            not_observed.extend(missing);
        }
        Observations { servers, batches, not_observed: not_observed.into_iter().collect() }
    }

    /// Reads the sizes of the transactions since the first sample from the primary. Each event has
    /// the id of the transaction that stored it in its column `xmin`.
    async fn batches(&self) -> Option<Batches> {
        let after = self.first_head?;
        for server in &self.watched {
            let Some(session) = server.open(&self.table, LONGEST_ANSWER).await else { continue };
            let is_primary = timeout(LONGEST_ANSWER, session.is_primary()).await;
            if let Ok(Ok(true)) = is_primary {
                let sizes = timeout(LONGEST_COUNT, session.batches(after)).await.ok()?.ok()?;
                let transactions = sizes.values().sum();
                let events = sizes.iter().map(|(size, count)| size * count).sum();
                return Some(Batches { transactions, events, sizes });
            }
        }
        None
    }
}

const MOST_SAMPLES: f64 = 300.0;

/// Reading the CPU time takes some milliseconds.
const SAMPLES_PER_CPU_SAMPLE: u32 = 5;

/// The longest time for a server to answer.
const LONGEST_ANSWER: Duration = Duration::from_secs(1);
/// The longest time for counting the transactions of a long log.
const LONGEST_COUNT: Duration = Duration::from_secs(120);

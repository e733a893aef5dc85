use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use console::error_chain;
use tokio::time::timeout;
use tokio_postgres::Error;

use super::counter::Counter;
use super::session::{Answer, ReadSource, Reads, Session, State, is_refusal};
use super::{Sample, ServerObservation};
use crate::servers::SqlAddress;

/// A server that is observed.
#[derive(Debug)]
pub(super) struct Watched {
    address: SqlAddress,
    session: Option<Session>,
    read_source: ReadSource,
    reads: Counter,
    query_reads: Counter,
    pub(super) cpu_seconds: Counter,
    version: String,
    samples: Vec<Sample>,
    /// When the reads were counted last.
    counted: Option<Instant>,
    /// The reason why it has never answered, if it has not.
    absence: Option<String>,
    not_observed: BTreeSet<String>,
}

impl Watched {
    pub(super) fn new(address: SqlAddress) -> Self {
        Self {
            address,
            session: None,
            read_source: ReadSource::Statements,
            reads: Counter::default(),
            query_reads: Counter::default(),
            cpu_seconds: Counter::default(),
            version: String::new(),
            samples: Vec::new(),
            counted: None,
            absence: None,
            not_observed: BTreeSet::new(),
        }
    }

    /// Adds a sample at a time of the load, without a lag. Returns the state of the log if the
    /// server answers.
    pub(super) async fn sample(
        &mut self,
        at: f64,
        table: &str,
        longest: Duration,
    ) -> Option<State> {
        let mut sample = Sample { at, ..Sample::default() };
        let mut state = None;
        if let Some(answer) = self.ask(table, longest).await {
            let Answer { state: answered, waits, reads } = answer;
            sample.is_up = true;
            state = self.accept("the log", answered);
            sample.waits = self.accept("the waits of sessions", waits).unwrap_or_default();
            sample.reads_per_second = self.count(reads);
        }
        self.samples.push(sample);
        state
    }

    /// Sets the lag of the last sample.
    pub(super) fn set_lag(&mut self, lag_ms: f64) {
        if let Some(sample) = self.samples.last_mut() {
            sample.lag_ms = Some(lag_ms);
        }
    }

    /// Returns the open connection.
    pub(super) fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// Opens a new connection, which has no statement under way.
    pub(super) async fn open(&self, table: &str, longest: Duration) -> Option<Session> {
        Session::open(&self.address, table, longest).await.ok()
    }

    /// Returns what the server said of itself, and what could not be observed.
    pub(super) fn finish(self, later_names: Vec<String>) -> (ServerObservation, BTreeSet<String>) {
        let name = self.address.name().to_string();
        let mut not_observed = self.not_observed;
        if let (true, Some(absence)) = (self.version.is_empty(), self.absence) {
            not_observed.insert(format!("{name} was not observed: {absence}"));
        }
        let whole = |counter: Counter| counter.total().map(|total| total as u64);
        let is_counted = self.read_source != ReadSource::Missing;
        let observation = ServerObservation {
            name,
            later_names,
            version: self.version,
            reads: whole(self.reads).filter(|_| is_counted),
            query_reads: whole(self.query_reads).filter(|_| is_counted),
            cpu_seconds: self.cpu_seconds.total(),
            samples: with_few_waits(self.samples),
        };
        (observation, not_observed)
    }

    /// Asks the server, over a new connection if there is none. Returns `None` if it does not
    /// answer in time.
    async fn ask(&mut self, table: &str, longest: Duration) -> Option<Answer> {
        let session = match self.session.take() {
            Some(session) => session,
            None => match Session::open(&self.address, table, longest).await {
                Ok(session) => session,
                Err(error) => {
                    self.absence = Some(error_chain(&error));
                    return None;
                }
            },
        };
        self.version.clone_from(&session.version);
        if !session.sees_all {
            self.add_gap(
                "its role sees only its own statements and sessions: grant it pg_read_all_stats",
            );
        }
        let mut answer = timeout(longest, session.ask(self.read_source)).await.ok()?;
        while self.use_other_source(&answer.reads) {
            answer.reads = timeout(longest, session.reads(self.read_source)).await.ok()?;
        }
        let has_ended = |error: &Error| error.is_closed() || error.as_db_error().is_none();
        if answer.state.as_ref().is_err_and(has_ended) {
            return None;
        }
        self.session = Some(session);
        Some(answer)
    }

    /// Returns what a server has answered. Notes what it refuses.
    fn accept<T>(&mut self, part: &str, answer: Result<T, Error>) -> Option<T> {
        if let Err(error) = &answer
            && is_refusal(error)
        {
            self.add_gap(&format!("it does not tell {part}: {}", error_chain(error)));
        }
        answer.ok()
    }

    /// Counts the reads. Returns their rate since they were counted last.
    fn count(&mut self, reads: Result<Reads, Error>) -> Option<f64> {
        let reads = reads.ok().filter(|_| self.read_source != ReadSource::Missing)?;
        let now = Instant::now();
        let growth = self.reads.advance(reads.all as f64);
        if let Some(queries) = reads.queries {
            self.query_reads.advance(queries as f64);
        }
        let seconds = (now - self.counted.replace(now)?).as_secs_f64();
        Some(growth / seconds)
    }

    /// Changes the source of the reads if the server refuses the current one. Returns whether it
    /// was changed.
    fn use_other_source(&mut self, reads: &Result<Reads, Error>) -> bool {
        let Err(error) = reads else { return false };
        if !is_refusal(error) {
            return false;
        }
        let reason = error_chain(error);
        if self.read_source == ReadSource::Statements {
            self.read_source = ReadSource::Scans;
            self.add_gap(&format!(
                "its reads are the scans of the log's table, of which a read needs several, since \
                 pg_stat_statements cannot be read: {reason}"
            ));
        } else {
            self.read_source = ReadSource::Missing;
            self.add_gap(&format!("it does not tell its reads: {reason}"));
        }
        true
    }

    fn add_gap(&mut self, text: &str) {
        self.not_observed.insert(format!("{}: {text}", self.address.name()));
    }
}

/// Keeps the names of the most frequent waits, and adds the others up.
fn with_few_waits(mut samples: Vec<Sample>) -> Vec<Sample> {
    let mut totals: BTreeMap<String, u64> = BTreeMap::new();
    for (name, count) in samples.iter().flat_map(|sample| &sample.waits) {
        *totals.entry(name.clone()).or_default() += count;
    }
    let mut names: Vec<_> = totals.into_iter().collect();
    names.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let rare: BTreeSet<String> = names.into_iter().skip(MOST_WAITS).map(|(name, _)| name).collect();
    for sample in &mut samples {
        let (others, mut kept): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut sample.waits)
                .into_iter()
                .partition(|(name, _)| rare.contains(name));
        if !others.is_empty() {
            kept.insert("other".to_owned(), others.into_values().sum());
        }
        sample.waits = kept;
    }
    samples
}

/// The most names of waits of a server.
const MOST_WAITS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_waits_are_added_up() {
        let waits = |counts: std::ops::Range<u64>| {
            counts.map(|count| (format!("LWLock:{count}"), count)).collect::<BTreeMap<_, _>>()
        };
        let sample = |waits| Sample { waits, ..Sample::default() };

        let samples = with_few_waits(vec![sample(waits(1..11)), sample(waits(5..7))]);

        assert_eq!(samples[0].waits.len(), MOST_WAITS + 1);
        assert_eq!(samples[0].waits["other"], 1 + 2);
        assert_eq!(samples[0].waits["LWLock:10"], 10);
        assert_eq!(samples[1].waits, waits(5..7));
    }
}

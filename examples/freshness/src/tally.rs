//! The numbers of reads and disturbances.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use console::error_chain;
use eddyline::Error;
use hdrhistogram::Histogram;

use crate::answer::Ask;
use crate::disturbances::Disturbance;

/// The counts of a run.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub reads: BTreeMap<Ask, Reads>,
    /// The reads that were called during a disturbance. During several at once, a read counts for
    /// each of them.
    pub during: BTreeMap<(Disturbance, Ask), Reads>,
    /// The number of disturbances that have ended.
    pub disturbances: BTreeMap<Disturbance, u64>,
    /// The number of answers of each server.
    pub served: BTreeMap<(Ask, String), u64>,
    /// The number of reads without an answer by the kind of error, and the first error.
    pub unserved: BTreeMap<(Ask, String), (u64, String)>,
    pub appends: u64,
    /// The number of appends without an answer that they were stored.
    pub failed_appends: u64,
}

/// Reads of one kind.
#[derive(Clone, Debug)]
pub struct Reads {
    pub answered: u64,
    pub unserved: u64,
    /// The times until an answer or an error, in microseconds.
    times: Histogram<u64>,
}

impl Tally {
    pub fn add_answer(&mut self, ask: Ask, server: &str, during: &[Disturbance], time: Duration) {
        self.each(ask, during, |reads| reads.answered += 1, time);
        *self.served.entry((ask, server.to_owned())).or_default() += 1;
    }

    pub fn add_error(&mut self, ask: Ask, error: &Error, during: &[Disturbance], time: Duration) {
        self.each(ask, during, |reads| reads.unserved += 1, time);
        let first = || (0, error_chain(error));
        self.unserved.entry((ask, kind_of(error))).or_insert_with(first).0 += 1;
    }

    /// Returns what has not occurred yet: disturbances, and kinds of read that were never answered
    /// during one.
    pub fn absent(&self) -> Vec<String> {
        let is_absent = |it: &Disturbance| !self.disturbances.contains_key(it);
        let absent = Disturbance::ALL.into_iter().filter(is_absent);
        let absent = absent.map(|it| format!("servers that were {it}"));
        let unanswered = Disturbance::ALL.into_iter().flat_map(|it| {
            let unanswered = self.unanswered(it);
            unanswered.map(move |ask| format!("answers to {ask} reads while servers were {it}"))
        });
        absent.chain(unanswered).collect()
    }

    /// Returns the kinds of read that were never answered during a disturbance of this kind.
    pub fn unanswered(&self, disturbance: Disturbance) -> impl Iterator<Item = Ask> {
        let reads = move |ask| self.during.get(&(disturbance, ask));
        Ask::ALL.into_iter().filter(move |ask| reads(*ask).is_none_or(|it| it.answered == 0))
    }

    /// Returns the reads during all disturbances of a kind.
    pub fn during(&self, disturbance: Disturbance) -> Reads {
        let mut all = Reads::default();
        let reads = self.during.iter().filter(|((it, _), _)| *it == disturbance);
        reads.for_each(|(_, reads)| all.add(reads));
        all
    }

    /// Returns all reads.
    pub fn all(&self) -> Reads {
        let mut all = Reads::default();
        self.reads.values().for_each(|reads| all.add(reads));
        all
    }

    fn each(
        &mut self,
        ask: Ask,
        during: &[Disturbance],
        count: impl Fn(&mut Reads),
        time: Duration,
    ) {
        let add = |reads: &mut Reads| {
            count(reads);
            reads.times.saturating_record(time.as_micros().try_into().unwrap_or(u64::MAX));
        };
        add(self.reads.entry(ask).or_default());
        during.iter().for_each(|&it| add(self.during.entry((it, ask)).or_default()));
    }
}

impl Reads {
    fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.unserved += other.unserved;
        // Both have the same bounds.
        let _ = self.times.add(&other.times);
    }

    /// Returns the time within which this share of the reads ended.
    pub fn quantile(&self, share: f64) -> Duration {
        Duration::from_micros(self.times.value_at_quantile(share))
    }
}

impl Default for Reads {
    fn default() -> Self {
        let times = Histogram::new_with_bounds(1, LONGEST, 2).expect("the bounds are valid");
        Self { answered: 0, unserved: 0, times }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reads { answered, unserved, .. } = self.all();
        let disturbances: u64 = self.disturbances.values().sum();
        write!(
            f,
            "{} appends, {answered} answers, {unserved} not served, {disturbances} disturbances",
            self.appends
        )
    }
}

/// Returns the name of an error's variant.
fn kind_of(error: &Error) -> String {
    let text = format!("{error:?}");
    text.chars().take_while(|letter| letter.is_alphanumeric()).collect()
}

/// The longest time that is distinguished, in microseconds.
const LONGEST: u64 = 120_000_000;

//! Five counts of the same operations, held against each other.

use std::collections::BTreeMap;
use std::fmt;

use load::replies::CommandName;

use crate::comparison::write_table;

/// What was counted of the load generator's operations, in five ways.
#[derive(Clone, Debug, Default)]
pub struct Counted(BTreeMap<Subject, Counts>);

/// What is counted.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Subject {
    /// The calls of a handler with an outcome.
    Handled {
        /// The name of the handler.
        name: String,
        /// The outcome.
        outcome: String,
    },
    /// The events that commands stored.
    Stored,
    /// The rounds that decisions lost.
    LostRounds,
    /// The reads of commands, on the primary.
    CommandReads,
    /// The requests of these reads.
    CommandRequests,
    /// The reads of queries, on the replicas.
    QueryReads,
}

/// The counts of one subject. Not everyone counts everything.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// What the handlers returned.
    pub returned: Option<u64>,
    /// The tally of the load generator.
    pub tally: Option<u64>,
    /// The text of `/metrics`.
    pub metrics: Option<u64>,
    /// Prometheus.
    pub prometheus: Option<u64>,
    /// PostgreSQL: `pg_stat_statements`, and the rows of the log.
    pub postgres: Option<u64>,
}

impl Counts {
    fn known(&self) -> impl Iterator<Item = u64> {
        let Self { returned, tally, metrics, prometheus, postgres } = *self;
        [returned, tally, metrics, prometheus, postgres].into_iter().flatten()
    }

    /// Returns whether at least two know the count, and all that know it agree.
    pub fn agree(&self) -> bool {
        let mut known = self.known();
        let first = known.next();
        let others: Vec<_> = known.collect();
        !others.is_empty() && others.iter().all(|other| Some(*other) == first)
    }
}

impl Counted {
    /// Adds calls that a handler returned from.
    pub fn returned(&mut self, name: &str, outcome: &str, number: u64) {
        add(&mut self.handled(name, outcome).returned, number);
        if outcome != "idempotent" && CommandName::from_name(name).is_some() {
            add(&mut self.of(Subject::Stored).returned, number);
        }
    }

    /// Adds calls of a handler that the load generator counted.
    pub fn tallied(&mut self, name: &str, outcome: &str, number: u64) {
        add(&mut self.handled(name, outcome).tally, number);
        if ["success", "rejected"].contains(&outcome) && CommandName::from_name(name).is_some() {
            add(&mut self.of(Subject::Stored).tally, number);
        }
    }

    /// Adds the reads that the load generator counted.
    pub fn tallied_reads(&mut self, commands: u64, queries: u64) {
        add(&mut self.of(Subject::CommandReads).tally, commands);
        add(&mut self.of(Subject::QueryReads).tally, queries);
    }

    /// Adds the lost rounds that the load generator counted.
    pub fn tallied_lost_rounds(&mut self, rounds: u64) {
        add(&mut self.of(Subject::LostRounds).tally, rounds);
    }

    /// Adds the reads of commands that the primary counted.
    pub fn server_reads(&mut self, primary: u64) {
        add(&mut self.of(Subject::CommandRequests).postgres, primary);
    }

    /// Adds the events that the log holds.
    pub fn stored(&mut self, events: u64) {
        add(&mut self.of(Subject::Stored).postgres, events);
    }

    /// Iterates over the subjects with their counts.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&Subject, &mut Counts)> {
        self.0.iter_mut()
    }

    /// Returns the counts of a subject.
    pub fn of(&mut self, subject: Subject) -> &mut Counts {
        self.0.entry(subject).or_default()
    }

    /// Returns how many subjects are counted differently, or by one only.
    pub fn failed(&self) -> usize {
        self.0.values().filter(|counts| !counts.agree()).count()
    }

    /// Returns the number of subjects.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    fn handled(&mut self, name: &str, outcome: &str) -> &mut Counts {
        self.of(Subject::Handled { name: name.to_owned(), outcome: outcome.to_owned() })
    }
}

impl Subject {
    /// Returns the sample of Prometheus that counts it, and the labels of its series.
    pub fn series(&self) -> (&'static str, Vec<Vec<(&str, &str)>>) {
        const OUTCOMES: &str = "eventstore_operation_outcomes_total";
        const REQUESTS: &str = "db_client_operation_duration_seconds_count";
        let answered = |operation| vec![COMMANDS_STORE, ("db_operation_name", operation), NO_ERROR];
        let ended = |store, operation| vec![store, ("operation", operation), SUCCESS];
        match self {
            Self::Handled { name, outcome } => {
                let labels = vec![("name", name.as_str()), ("outcome", outcome.as_str())];
                ("eventstore_handler_outcomes_total", vec![labels])
            }
            Self::Stored => {
                ("eventstore_events_total", vec![vec![COMMANDS_STORE, ("direction", "appended")]])
            }
            Self::LostRounds => ("eventstore_conflicts_total", vec![vec![COMMANDS_STORE]]),
            // The last round of some decisions reads under the log's lock.
            Self::CommandReads => {
                (OUTCOMES, vec![ended(COMMANDS_STORE, "query"), ended(COMMANDS_STORE, "decide")])
            }
            Self::CommandRequests => (REQUESTS, vec![answered("query"), answered("decide")]),
            Self::QueryReads => (OUTCOMES, vec![ended(("store", "queries"), "stream")]),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handled { name, outcome } => write!(f, "{name} {outcome}"),
            Self::Stored => f.write_str("events stored"),
            Self::LostRounds => f.write_str("lost rounds"),
            Self::CommandReads => f.write_str("reads of commands"),
            Self::CommandRequests => f.write_str("requests of commands to read"),
            Self::QueryReads => f.write_str("reads of queries"),
        }
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## Five counts of the load generator's operations\n")?;
        let head = ["what", "handlers", "tally", "/metrics", "Prometheus", "PostgreSQL", ""];
        let text = |count: Option<u64>| count.map_or("–".to_owned(), |count| count.to_string());
        let rows = self.0.iter().map(|(subject, counts)| {
            let Counts { returned, tally, metrics, prometheus, postgres } = *counts;
            let [returned, tally, metrics, prometheus, postgres] =
                [returned, tally, metrics, prometheus, postgres].map(text);
            let verdict = if counts.agree() { "ok" } else { "FAILED" }.to_owned();
            [subject.to_string(), returned, tally, metrics, prometheus, postgres, verdict]
        });
        write_table(f, head, rows)?;
        writeln!(f)
    }
}

fn add(count: &mut Option<u64>, number: u64) {
    *count.get_or_insert(0) += number;
}

const COMMANDS_STORE: (&str, &str) = ("store", "commands");
const NO_ERROR: (&str, &str) = ("error_type", "");
const SUCCESS: (&str, &str) = ("outcome", "success");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_agree_only_if_all_that_are_known_are_equal() {
        let counts = Counts { returned: Some(3), tally: Some(3), ..Counts::default() };

        assert!(counts.agree());
        assert!(!Counts { postgres: Some(4), ..counts }.agree());
        assert!(!Counts { tally: None, ..counts }.agree());
        assert!(!Counts::default().agree());
    }
}

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;

use super::per_unit;
use crate::observer::ServerObservation;
use crate::report::Report;
use crate::report::statistics::median;

/// Values of a server.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServerFigures {
    /// The name.
    pub name: String,
    /// The names that it had later, after promotions.
    pub later_names: Vec<String>,
    /// The version. Empty if the server was not observed.
    pub version: String,
    /// The queries that it answered, as the answers say.
    pub answered: u64,
    /// Their share of all answered queries.
    pub answered_share: Option<f64>,
    /// The reads of the log that it served, by its own statistics. Commands read as well.
    pub reads: Option<u64>,
    /// Their share of the reads that all servers served.
    pub reads_share: Option<f64>,
    /// Those of the reads that were made for queries. `None` if the statistics do not tell them
    /// from the others.
    pub query_reads: Option<u64>,
    /// Their share of the reads for queries that all servers served.
    pub query_reads_share: Option<f64>,
    /// The median of the replication lag, in milliseconds.
    pub lag_median_ms: Option<f64>,
    /// The greatest replication lag, in milliseconds.
    pub lag_max_ms: Option<f64>,
    /// The CPU time that it took per operation of the load, in microseconds.
    pub cpu_per_operation_us: Option<f64>,
    /// The number of times that it was asked for its state.
    pub samples: usize,
    /// The number of those that it did not answer.
    pub unanswered_samples: usize,
}

/// Something that active sessions of a server waited for, or `running`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Wait {
    /// The name of the server.
    pub server: String,
    /// What the sessions waited for.
    pub wait: String,
    /// The sum of the number of these sessions over all samples.
    pub sessions: u64,
}

impl Report {
    /// Returns the values of each server.
    pub(super) fn server_figures(&self) -> Vec<ServerFigures> {
        let observed = &self.servers.servers;
        let answers = &self.load.reads_by_server;
        let is_observed = |name: &String| {
            observed.iter().any(|server| server.name == *name || server.later_names.contains(name))
        };
        let others = answers
            .keys()
            .filter(|name| !is_observed(name))
            .map(|name| ServerObservation { name: name.clone(), ..ServerObservation::default() });
        let all_answers = answers.values().sum::<u64>() as f64;
        let sum = |reads: fn(&ServerObservation) -> Option<u64>| {
            observed.iter().filter_map(reads).sum::<u64>() as f64
        };
        let (all_reads, all_queries) = (sum(|one| one.reads), sum(|one| one.query_reads));
        let share = |reads: Option<u64>, all| reads.and_then(|reads| per_unit(reads as f64, all));
        let figures = |server: ServerObservation| {
            // A name that another server had at first counts for that one.
            let later = server
                .later_names
                .iter()
                .filter(|later| observed.iter().all(|other| other.name != **later));
            let names = [&server.name].into_iter().chain(later);
            let answered = names.filter_map(|name| answers.get(name)).sum();
            ServerFigures {
                answered_share: per_unit(answered as f64, all_answers),
                reads_share: share(server.reads, all_reads),
                query_reads_share: share(server.query_reads, all_queries),
                ..self.own_figures(server, answered)
            }
        };
        observed.iter().cloned().chain(others).map(figures).collect()
    }

    /// Returns the values of a server that do not depend on the other servers.
    fn own_figures(&self, server: ServerObservation, answered: u64) -> ServerFigures {
        let lags: Vec<f64> = server.samples.iter().filter_map(|sample| sample.lag_ms).collect();
        let cpu = server.cpu_seconds.map(|seconds| seconds * 1e6);
        ServerFigures {
            answered,
            answered_share: None,
            reads: server.reads,
            reads_share: None,
            query_reads: server.query_reads,
            query_reads_share: None,
            lag_median_ms: median(&lags),
            lag_max_ms: lags.into_iter().reduce(f64::max),
            cpu_per_operation_us: cpu.and_then(|cpu| per_unit(cpu, self.load.ended as f64)),
            samples: server.samples.len(),
            unanswered_samples: server.samples.iter().filter(|sample| !sample.is_up).count(),
            name: server.name,
            later_names: server.later_names,
            version: server.version,
        }
    }

    /// Returns what sessions waited for, the most frequent first.
    pub(super) fn waits(&self) -> Vec<Wait> {
        let mut sessions: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for server in &self.servers.servers {
            for (wait, count) in server.samples.iter().flat_map(|sample| &sample.waits) {
                *sessions.entry((&server.name, wait)).or_default() += count;
            }
        }
        let mut waits: Vec<Wait> = sessions
            .into_iter()
            .map(|((server, wait), sessions)| Wait {
                server: server.to_owned(),
                wait: wait.to_owned(),
                sessions,
            })
            .collect();
        waits.sort_by_key(|wait| Reverse(wait.sessions));
        waits
    }
}

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What the servers said of themselves.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Observations {
    /// The servers, the primary first.
    pub servers: Vec<ServerObservation>,
    /// The transactions in which events were stored, as the log shows them. `None` if it could not
    /// be asked.
    pub batches: Option<Batches>,
    /// What could not be observed, and why.
    pub not_observed: Vec<String>,
}

/// What a server said of itself.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct ServerObservation {
    /// The name that it had at first: `primary`, `replica-0`, …
    pub name: String,
    /// The names that it had later, after promotions.
    #[serde(default)]
    pub later_names: Vec<String>,
    /// The version.
    pub version: String,
    /// The reads of the log that it served, by its own statistics. `None` if it has none.
    pub reads: Option<u64>,
    /// Those of the reads that came from the role of the read-only stores. The others were made for
    /// decisions. `None` if the stores have the same role.
    #[serde(default)]
    pub query_reads: Option<u64>,
    /// The CPU time that it took during the load, in seconds, if it runs on this machine.
    pub cpu_seconds: Option<f64>,
    /// Its state in the course of the load.
    pub samples: Vec<Sample>,
}

/// The state of a server at a time.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Sample {
    /// The time in seconds since the start of the load.
    pub at: f64,
    /// The replication lag in milliseconds: the age of the oldest event that the primary shows and
    /// this server does not show. Zero if it shows all. `None` for the primary, and if one of them
    /// does not answer.
    pub lag_ms: Option<f64>,
    /// The reads per second since the last sample.
    pub reads_per_second: Option<f64>,
    /// The number of its active sessions, by what they wait for. Those that do not wait are
    /// `running`.
    pub waits: BTreeMap<String, u64>,
    /// Whether the server answered.
    pub is_up: bool,
}

/// The transactions in which events were stored: group commits.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Batches {
    /// The number of transactions.
    pub transactions: u64,
    /// The number of events.
    pub events: u64,
    /// The number of transactions by their number of events.
    pub sizes: BTreeMap<u64, u64>,
}

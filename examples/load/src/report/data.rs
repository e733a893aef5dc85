use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::audit::Audit;
use crate::engine::Limit;
use crate::faults::Mark;
use crate::observer::Observations;
use crate::tally::Snapshot;

/// The result of a load.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Report {
    /// The version of this format.
    pub version: u32,
    /// When the load began.
    pub started_at: Timestamp,
    /// The machine that ran the generator.
    pub machine: Machine,
    /// How the load was run.
    pub settings: Settings,
    /// What was asked for, to be compared with what was got.
    pub asked: Asked,
    /// What the load did.
    pub load: Snapshot,
    /// What the servers said of themselves.
    pub servers: Observations,
    /// The faults that were injected.
    pub faults: Vec<Mark>,
    /// The highest rate that kept a goal, if it was looked for.
    pub limit: Option<Limit>,
    /// The CPU time of this process per operation, in microseconds: that of the generator and of
    /// eddyline in it. `None` if the system does not tell it.
    pub cpu_per_operation_us: Option<f64>,
    /// The result of the audit. `None` until it has ended.
    pub audit: Option<Audit>,
}

/// The machine that ran the generator.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Machine {
    /// The operating system and its version.
    pub system: String,
    /// The model of the processor.
    pub processor: String,
    /// The number of processors.
    pub processors: usize,
    /// The memory in GiB.
    pub memory_gib: f64,
}

/// How a load was run.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Settings {
    /// The version of eddyline.
    pub eddyline: String,
    /// Whether operations began at their time (`open`), or each after the end of another one
    /// (`closed`), or at growing rates (`limit`).
    pub model: String,
    /// The shape of the rate: `constant`, `day`, `ramp`, or `plan` for that of a plan from a file.
    /// `none` if the load has no planned times.
    pub shape: String,
    /// The number of clients.
    pub clients: u32,
    /// The hash of the plan of intentions.
    pub plan: String,
    /// The seed.
    pub seed: u64,
    /// The rate that was asked for at each window of the load, in operations per second. Empty if
    /// the loop is closed.
    pub rates: Vec<f64>,
    /// Whether the servers were started by the generator.
    pub is_embedded: bool,
    /// All options with their values.
    pub options: BTreeMap<String, String>,
}

/// Shares of the commands, from 0 to 1.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Shares {
    /// Those that store their event.
    pub success: f64,
    /// Those that have nothing to change.
    pub idempotent: f64,
    /// Those that the rules forbid.
    pub rejected: f64,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Asked {
    /// The share of lending and returning among the commands, from 0 to 1.
    pub lending: f64,
    /// The share of changes of the circulation among the commands.
    pub circulation: f64,
    /// The share of registrations and cancellations among the commands.
    pub readers: f64,
    /// The share of queries among all operations.
    pub queries: f64,
    /// How the commands should end.
    pub outcomes: Shares,
    /// The share of commands that should lose a round.
    pub lost_rounds: f64,
}

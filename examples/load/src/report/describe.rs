//! How a load was run, in words.

use super::{Machine, Report, Settings};

impl Machine {
    /// Returns the machine in words.
    pub fn describe(&self) -> String {
        let Self { system, processor, processors, memory_gib } = self;
        format!("{processors} x {processor}, {memory_gib:.1} GiB, {system}")
    }
}

impl Settings {
    /// Returns the model of the load and the shape of its rate, in words.
    pub fn describe_model(&self) -> String {
        match self.model.as_str() {
            "open" => format!("open loop, {}", self.describe_shape()),
            "closed" => "closed loop: each client waits for an answer before its next operation, \
                         so that latencies show no queueing"
                .to_owned(),
            "limit" => "open loop, growing rates: a search for the highest rate".to_owned(),
            other => format!("{other}, {}", self.describe_shape()),
        }
    }

    fn describe_shape(&self) -> String {
        match self.shape.as_str() {
            "constant" => "constant rate".to_owned(),
            "day" => "the rate of a compressed day".to_owned(),
            "plan" => "the rate of a plan from a file".to_owned(),
            "ramp" => "a rate that changes evenly".to_owned(),
            other => format!("{other} rate"),
        }
    }

    /// Returns where the servers are from.
    pub fn describe_owner(&self) -> String {
        let owner = match (self.has_store(), self.is_embedded) {
            (false, _) => "none: the generator answers without a store",
            (true, false) => "given by their addresses",
            (true, true) => "started by the generator",
        };
        owner.to_owned()
    }

    /// Returns whether commands and queries reached a store.
    pub fn has_store(&self) -> bool {
        self.options.get("no-store").is_none_or(|value| value != "true")
    }
}

impl Report {
    /// Returns the names and versions of the servers.
    pub fn describe_servers(&self) -> String {
        let servers = self.servers.servers.iter();
        let servers: Vec<_> =
            servers.map(|server| format!("{} {}", server.name, server.version)).collect();
        if servers.is_empty() { "none".to_owned() } else { servers.join(", ") }
    }

    /// Returns the texts of the faults.
    pub fn describe_faults(&self) -> String {
        let faults: Vec<_> = self.faults.iter().map(|fault| fault.text.as_str()).collect();
        if faults.is_empty() { "none".to_owned() } else { faults.join(", ") }
    }
}

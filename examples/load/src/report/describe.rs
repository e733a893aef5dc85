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
            "open" => format!("open loop, {} rate", self.shape),
            "closed" => "closed loop: each client waits for an answer before its next operation, \
                         so that latencies show no queueing"
                .to_owned(),
            "limit" => "open loop, growing rates: a search for the highest rate".to_owned(),
            other => format!("{other}, {} rate", self.shape),
        }
    }

    /// Returns who started the servers.
    pub fn describe_owner(&self) -> String {
        let owner = if self.is_embedded { "started by the generator" } else { "given" };
        owner.to_owned()
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

use std::fmt;

use serde::{Deserialize, Serialize};

use super::findings::Findings;

/// The result of an audit.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Audit {
    /// The number of events in the log.
    pub events: u64,
    /// The number of replicas that were compared with the primary.
    pub replicas: usize,
    /// The replies that were checked.
    pub checked: Checked,
    /// The errors of the load.
    pub findings: Findings,
    /// The events before the load that break the rules or are not of the library.
    pub found_before: Findings,
}

/// The number of replies that an audit has checked.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Checked {
    /// The commands that stored an event.
    pub stored: u64,
    /// The commands that had nothing to change.
    pub idempotent: u64,
    /// The imported events.
    pub imported: u64,
    /// The answers to queries.
    pub answers: u64,
}

impl Audit {
    /// Returns whether the log and the replies have no errors, also not before the load.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty() && self.found_before.is_empty()
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, replicas, checked, findings, found_before } = self;
        let Checked { stored, idempotent, imported, answers } = checked;
        if self.is_clean() {
            return writeln!(
                f,
                "audit: no findings in {events} events, the same on the primary and {replicas} \
                 replicas, and in the replies: {stored} stored events, {idempotent} commands with \
                 nothing to change, {imported} imported events, {answers} answers"
            );
        }
        writeln!(f, "audit: {} findings in {events} events and the replies", findings.count)?;
        findings.write("finding", f)?;
        if !found_before.is_empty() {
            let count = found_before.count;
            writeln!(f, "before the load, {count} events broke the rules or were foreign")?;
            found_before.write("before the load", f)?;
        }
        Ok(())
    }
}

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
    /// The number of events since the start that no reply of the load explains. Each of them is a
    /// finding.
    #[serde(default)]
    pub unexplained: u64,
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
    /// Returns whether the log and the replies have no errors, including the events before the
    /// load.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty() && self.found_before.is_empty()
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, replicas, checked, findings, found_before, unexplained } = self;
        let Checked { stored, idempotent, imported, answers } = checked;
        if self.is_clean() {
            return writeln!(
                f,
                "audit: no findings in {events} events. They are the same on the primary and \
                 {replicas} replicas, and agree with the replies: {stored} commands that stored an \
                 event, {idempotent} commands with nothing to change, {imported} imported events, \
                 {answers} answers to queries"
            );
        }
        let subject = format!("{events} events and the replies");
        match findings.count {
            0 => writeln!(f, "audit: no findings of the load in {subject}")?,
            1 => writeln!(f, "audit: 1 finding in {subject}")?,
            count => writeln!(f, "audit: {count} findings in {subject}")?,
        }
        findings.write("finding", f)?;
        if *unexplained > 0 {
            writeln!(
                f,
                "{unexplained} events since the start are not of this load. If another program has \
                 appended to the log, the findings can be its doing: they do not prove an error of \
                 the store. Run one load on a log at a time, or give each its own --log"
            )?;
        }
        if !found_before.is_empty() {
            let before = found_before.count;
            writeln!(
                f,
                "events before the load that break the rules or are not of the library: {before}"
            )?;
            found_before.write("before the load", f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_a_finding() -> Audit {
        let mut findings = Findings::default();
        findings.add("event 7 is lost".to_owned());
        Audit { events: 9, replicas: 2, findings, ..Audit::default() }
    }

    #[test]
    fn a_clean_audit_says_what_it_has_compared() {
        let checked = Checked { stored: 5, idempotent: 2, imported: 4, answers: 3 };
        let audit = Audit { events: 9, replicas: 2, checked, ..Audit::default() };

        assert!(audit.is_clean());
        assert_eq!(
            audit.to_string(),
            "audit: no findings in 9 events. They are the same on the primary and 2 replicas, and \
             agree with the replies: 5 commands that stored an event, 2 commands with nothing to \
             change, 4 imported events, 3 answers to queries\n"
        );
    }

    #[test]
    fn lists_findings_in_lines_of_their_own() {
        let audit = with_a_finding();

        let text = "audit: 1 finding in 9 events and the replies\nfinding: event 7 is lost\n";
        assert!(!audit.is_clean());
        assert_eq!(audit.to_string(), text);
    }

    #[test]
    fn says_what_events_of_another_program_mean() {
        let audit = Audit { unexplained: 3, ..with_a_finding() };

        let text = audit.to_string();

        assert!(text.contains("3 events since the start are not of this load"), "{text}");
        assert!(text.contains("--log"), "{text}");
    }

    #[test]
    fn serialization_keeps_everything() {
        let audit = with_a_finding();

        let json = serde_json::to_string(&audit).unwrap();

        assert_eq!(serde_json::from_str::<Audit>(&json).unwrap(), audit);
    }
}

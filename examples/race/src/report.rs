//! The outcome of a race, as text and as JSON.

use std::fmt;
use std::time::Duration;

use console::Conclusion;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::checker::Verdict;
use crate::kind::Kind;
use crate::message::Server;
use crate::tally::Tally;

/// The outcome of a race.
pub struct Report {
    pub verdict: Verdict,
    pub tally: Tally,
    /// The time for which the writers ran.
    pub elapsed: Duration,
    /// The number of events in the final log.
    pub events: usize,
    pub servers: Vec<Server>,
    /// The kinds of operation that the race must include.
    pub kinds: Vec<Kind>,
    pub other_errors: OtherErrors,
    pub seed: u64,
}

/// The errors that did not end an actor or the race: refusals for other reasons than a conflict,
/// and failed reads.
#[derive(Debug, Default, Serialize)]
pub struct OtherErrors {
    pub count: u64,
    pub first: Option<String>,
}

impl OtherErrors {
    pub fn add(&mut self, error: String) {
        self.count += 1;
        self.first.get_or_insert(error);
    }
}

impl Report {
    /// Returns the overall result. A violation counts even if some kind of operation did not occur.
    pub fn conclusion(&self, expect_wrong: bool) -> Conclusion {
        let as_expected =
            if expect_wrong { self.verdict.wrong.count > 0 } else { self.verdict.is_clean() };
        match (as_expected, expect_wrong) {
            (true, true) => Conclusion::Passed,
            (false, false) => Conclusion::Failed,
            _ if !self.absent().is_empty() => Conclusion::Void,
            (true, false) => Conclusion::Passed,
            (false, true) => Conclusion::Failed,
        }
    }

    /// Returns the kinds of operation that did not occur.
    pub fn absent(&self) -> Vec<Kind> {
        self.tally.absent(&self.kinds)
    }

    /// Returns the named rates of operations per second.
    fn rates(&self) -> Vec<(String, f64)> {
        let tally = &self.tally;
        let tails = self
            .servers
            .iter()
            .map(|&server| (format!("tail reads of the {server}"), tally.tails(server)));
        let counts = [
            ("accepted decisions", tally.decisions()),
            ("conflicts", tally.conflicts()),
            ("unconditional appends", tally.unconditional()),
            ("plain inserts", tally.inserts()),
        ];
        let counts = counts.map(|(name, count)| (name.to_owned(), count)).into_iter();
        let seconds = self.elapsed.as_secs_f64();
        counts.chain(tails).map(|(name, count)| (name, count as f64 / seconds)).collect()
    }

    /// Returns the report as JSON.
    pub fn to_json(&self) -> Value {
        let violations =
            self.verdict.all().map(|(name, violations)| (name.to_owned(), json!(violations)));
        let rates = self.rates().into_iter().map(|(name, rate)| (name, json!(rate)));
        let kinds = self.kinds.iter();
        let work = kinds.map(|&kind| (kind.to_string(), json!(self.tally.of(kind))));
        json!({
            "faults": Map::from_iter(violations),
            "rates": Map::from_iter(rates),
            "work": Map::from_iter(work),
            "events": self.events,
            "seconds": self.elapsed.as_secs_f64(),
            "seed": self.seed,
            "errors": self.other_errors,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, violations) in self.verdict.all() {
            violations.write(name, f)?;
        }
        writeln!(f, "\nper second, over {:.1} s:", self.elapsed.as_secs_f64())?;
        self.rates().iter().try_for_each(|(name, rate)| writeln!(f, "{rate:9.1}  {name}"))?;
        writeln!(f, "\noperations, for a log of {} events:", self.events)?;
        for &kind in &self.kinds {
            writeln!(f, "{:9}  {kind}", self.tally.of(kind))?;
        }
        if let OtherErrors { count, first: Some(first) } = &self.other_errors {
            writeln!(f, "\n{count} errors other than conflicts, the first one: {first}")?;
        }
        write!(f, "\nseed {}", self.seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::{Observations, check};
    use crate::protocol::ProtocolName;

    fn report(absent: Option<Kind>, wrong: u64) -> Report {
        let mut verdict = check(&[], &Observations::default());
        verdict.wrong.count = wrong;
        let servers = vec![Server::Primary];
        let mut tally = Tally::default();
        let kinds = Kind::expected(ProtocolName::Eddyline, &servers, 2);
        let present = kinds.iter().filter(|&&kind| Some(kind) != absent);
        tally.set(0, present.map(|&kind| (kind, 1)).collect());
        Report {
            verdict,
            tally,
            elapsed: Duration::from_secs(2),
            events: 0,
            servers,
            kinds,
            other_errors: OtherErrors::default(),
            seed: 1,
        }
    }

    #[test]
    fn concludes_from_violations_and_from_absent_kinds() {
        let (absent, present) = (Some(Kind::Conflict), None);
        for (absent, wrong, expect_wrong, conclusion) in [
            (present, 0, false, Conclusion::Passed),
            (present, 1, false, Conclusion::Failed),
            (absent, 0, false, Conclusion::Void),
            (absent, 1, false, Conclusion::Failed),
            (present, 0, true, Conclusion::Failed),
            (present, 1, true, Conclusion::Passed),
            (absent, 0, true, Conclusion::Void),
            (absent, 1, true, Conclusion::Passed),
        ] {
            assert_eq!(report(absent, wrong).conclusion(expect_wrong), conclusion);
        }
    }

    #[test]
    fn prints_a_line_for_each_kind_of_violation() {
        let text = report(None, 3).to_string();

        for line in ["WRONG 3", "MISSED 0", "FALSE 0", "LOST 0", "GHOST 0", "TWICE 0"] {
            assert!(text.lines().any(|one| one == line), "{line}");
        }
    }

    #[test]
    fn reports_rates_per_second() {
        let json = report(None, 0).to_json();

        assert_eq!(json["rates"]["conflicts"], 1.0);
    }
}

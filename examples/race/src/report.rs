//! The outcome of a race, for people and as JSON.

use std::fmt::{self, Write as _};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::checker::Verdict;
use crate::fact::Server;
use crate::kind::Kind;
use crate::tally::Tally;

/// What a race came to.
pub struct Report {
    pub verdict: Verdict,
    pub tally: Tally,
    /// How long writers wrote.
    pub length: Duration,
    /// How many events the final log has.
    pub events: usize,
    pub servers: Vec<Server>,
    /// The kinds of work that belong to the race.
    pub kinds: Vec<Kind>,
    pub trouble: Trouble,
    pub seed: u64,
}

/// The faults that ended neither an actor nor the race: refusals for another reason than a
/// conflict, and reads that failed.
#[derive(Debug, Default, Serialize)]
pub struct Trouble {
    pub count: u64,
    pub first: Option<String>,
}

impl Trouble {
    pub fn add(&mut self, fault: String) {
        self.count += 1;
        self.first.get_or_insert(fault);
    }
}

/// What the program's end says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Conclusion {
    /// As it should be.
    Passed,
    /// Not as it should be.
    Failed,
    /// Some kind of work did not occur.
    Void,
}

impl Report {
    /// Concludes; a fault counts even if the rest of the race proves nothing.
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

    /// Lists the kinds of work that did not occur.
    pub fn absent(&self) -> Vec<Kind> {
        self.tally.absent(&self.kinds)
    }

    /// Returns what happened per second, by name.
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
        let seconds = self.length.as_secs_f64();
        counts.chain(tails).map(|(name, count)| (name, count as f64 / seconds)).collect()
    }

    /// Returns all of it as JSON.
    pub fn to_json(&self) -> Value {
        let faults = self.verdict.all().map(|(name, faults)| (name.to_owned(), json!(faults)));
        let rates = self.rates().into_iter().map(|(name, rate)| (name, json!(rate)));
        let kinds = self.kinds.iter();
        let work = kinds.map(|&kind| (kind.to_string(), json!(self.tally.of(kind))));
        json!({
            "faults": Map::from_iter(faults),
            "rates": Map::from_iter(rates),
            "work": Map::from_iter(work),
            "events": self.events,
            "seconds": self.length.as_secs_f64(),
            "seed": self.seed,
            "trouble": self.trouble,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, faults) in self.verdict.all() {
            writeln!(f, "{name} {}", faults.count)?;
            faults.examples.iter().try_for_each(|example| writeln!(f, "    {example}"))?;
        }
        writeln!(f, "\nper second, over {:.1} s:", self.length.as_secs_f64())?;
        self.rates().iter().try_for_each(|(name, rate)| writeln!(f, "{rate:9.1}  {name}"))?;
        writeln!(f, "\nat work, for a log of {} events:", self.events)?;
        for &kind in &self.kinds {
            writeln!(f, "{:9}  {kind}", self.tally.of(kind))?;
        }
        let mut troubled = String::new();
        if let Trouble { count, first: Some(first) } = &self.trouble {
            write!(troubled, "\n{count} errors other than conflicts, the first: {first}\n")?;
        }
        write!(f, "{troubled}\nseed {}", self.seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::{Testimony, judge};
    use crate::protocol::ProtocolName;

    fn report(absent: Option<Kind>, wrong: u64) -> Report {
        let mut verdict = judge(&[], &Testimony::default());
        verdict.wrong.count = wrong;
        let servers = vec![Server::Primary];
        let mut tally = Tally::default();
        let kinds = Kind::expected(ProtocolName::Eddyline, &servers, 2);
        let present = kinds.iter().filter(|&&kind| Some(kind) != absent);
        tally.set(0, present.map(|&kind| (kind, 1)).collect());
        Report {
            verdict,
            tally,
            length: Duration::from_secs(2),
            events: 0,
            servers,
            kinds,
            trouble: Trouble::default(),
            seed: 1,
        }
    }

    #[test]
    fn concludes_from_faults_and_from_work_that_did_not_occur() {
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
    fn prints_a_line_for_each_kind_of_fault() {
        let text = report(None, 3).to_string();

        for line in ["WRONG 3", "MISSED 0", "FALSE 0", "LOST 0", "GHOST 0", "TWICE 0"] {
            assert!(text.lines().any(|one| one == line), "{line}");
        }
    }

    #[test]
    fn gives_rates_per_second() {
        let json = report(None, 0).to_json();

        assert_eq!(json["rates"]["conflicts"], 1.0);
    }
}

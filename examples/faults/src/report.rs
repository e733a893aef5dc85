//! The outcome of a run.

use std::collections::BTreeMap;
use std::fmt;

use crate::Campaign;
use crate::checker::Verdict;
use crate::notes::Tally;

/// What a run came to.
#[derive(Debug)]
pub struct Report {
    /// What the judge found.
    pub verdict: Verdict,
    pub(crate) tallies: BTreeMap<Campaign, Tally>,
    /// How many events the final log has.
    pub events: usize,
    /// What all choices came of.
    pub seed: u64,
}

/// What the program's end says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Conclusion {
    /// As it should be.
    Passed,
    /// Not as it should be.
    Failed,
    /// In some campaign nothing was struck.
    Void,
}

impl Report {
    /// Concludes; a fault counts even if the rest of the run proves nothing.
    pub fn conclusion(&self, expect_unknown: bool) -> Conclusion {
        let is_as_expected = self.verdict.is_true() && self.verdict.is_known() != expect_unknown;
        match is_as_expected {
            false => Conclusion::Failed,
            true if !self.void().is_empty() => Conclusion::Void,
            true => Conclusion::Passed,
        }
    }

    /// Lists the campaigns in which no fault struck.
    pub fn void(&self) -> Vec<Campaign> {
        let void = self.tallies.iter().filter(|(_, tally)| tally.struck == 0);
        void.map(|(&campaign, _)| campaign).collect()
    }

    /// Returns how many decisions were accepted under the log's lock in a campaign.
    pub fn escalated(&self, campaign: Campaign) -> u64 {
        self.tallies.get(&campaign).map_or(0, |tally| tally.escalated)
    }

    /// Returns how many faults struck in a campaign.
    pub fn struck(&self, campaign: Campaign) -> u64 {
        self.tallies.get(&campaign).map_or(0, |tally| tally.struck)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, faults) in self.verdict.all() {
            writeln!(f, "{name} {}", faults.count)?;
            faults.examples.iter().try_for_each(|example| writeln!(f, "    {example}"))?;
        }
        let (unknown, answered) = (self.verdict.unknown, self.verdict.answered);
        let share = unknown as f64 * 100.0 / answered.max(1) as f64;
        writeln!(f, "UNKNOWN {unknown} of {answered}: {share:.3} %\n")?;
        write!(f, "{:<10}", "campaign")?;
        for head in COLUMNS {
            write!(f, " {head:>10}")?;
        }
        writeln!(f)?;
        let mut all = Tally::default();
        for (campaign, tally) in &self.tallies {
            all.add(tally);
            write_row(f, &campaign.to_string(), tally)?;
        }
        write_row(f, "all", &all)?;
        writeln!(f)?;
        for (campaign, tally) in &self.tallies {
            for (what, to_server, to_client) in &tally.exchanges {
                writeln!(f, "{campaign}: {what}: {to_server} bytes, and {to_client} of answers")?;
            }
            if let Some(trouble) = &tally.trouble {
                writeln!(f, "{campaign}: first {trouble}")?;
            }
        }
        for campaign in self.void() {
            writeln!(f, "void: no fault struck in the campaign {campaign}")?;
        }
        write!(f, "{} events in the log, seed {}", self.events, self.seed)
    }
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.appends += other.appends;
        self.accepted += other.accepted;
        for (class, count) in &other.refused {
            *self.refused.entry(class).or_default() += count;
        }
        self.unknown += other.unknown;
        self.given_up += other.given_up;
        self.struck += other.struck;
        self.decisions += other.decisions;
        self.superseded += other.superseded;
        self.escalated += other.escalated;
        self.connections += other.connections;
    }

    fn refused_as(&self, class: &str) -> u64 {
        self.refused.get(class).copied().unwrap_or(0)
    }

    /// Returns what stands in the columns.
    fn columns(&self) -> [u64; COLUMNS.len()] {
        let named = [CONFLICT, TRANSIENT, TIMEOUT].map(|class| self.refused_as(class));
        let others = self.refused.values().sum::<u64>() - named.iter().sum::<u64>();
        let [conflict, transient, timeout] = named;
        [
            self.struck,
            self.appends,
            self.accepted,
            conflict,
            transient,
            timeout,
            others,
            self.unknown,
            self.given_up,
            self.decisions,
            self.superseded,
            self.escalated,
            self.connections,
        ]
    }
}

fn write_row(f: &mut fmt::Formatter<'_>, name: &str, tally: &Tally) -> fmt::Result {
    write!(f, "{name:<10}")?;
    tally.columns().iter().try_for_each(|count| write!(f, " {count:>10}"))?;
    writeln!(f)
}

/// `refused` holds the classes that have no column of their own.
const COLUMNS: [&str; 13] = [
    "faults",
    "appends",
    "accepted",
    CONFLICT,
    TRANSIENT,
    TIMEOUT,
    "refused",
    "unknown",
    "given up",
    "decisions",
    "superseded",
    "escalated",
    "sessions",
];
const CONFLICT: &str = "conflict";
const TIMEOUT: &str = "timeout";
const TRANSIENT: &str = "transient";

#[cfg(test)]
mod tests {
    use super::*;

    fn report(struck: u64, unknown: u64, is_true: bool) -> Report {
        let mut verdict = Verdict { unknown, answered: 100, ..Verdict::default() };
        verdict.ghosts.count = u64::from(!is_true);
        let tally = Tally { struck, ..Tally::default() };
        Report { verdict, tallies: [(Campaign::Cut, tally)].into(), events: 0, seed: 1 }
    }

    #[test]
    fn concludes_from_what_was_told_and_what_struck() {
        for (struck, unknown, is_true, expect_unknown, conclusion) in [
            (1, 0, true, false, Conclusion::Passed),
            (1, 1, true, false, Conclusion::Failed),
            (1, 0, false, false, Conclusion::Failed),
            (0, 0, true, false, Conclusion::Void),
            (0, 0, false, false, Conclusion::Failed),
            (1, 1, true, true, Conclusion::Passed),
            (1, 1, false, true, Conclusion::Failed),
            (1, 0, true, true, Conclusion::Failed),
        ] {
            let report = report(struck, unknown, is_true);

            assert_eq!(report.conclusion(expect_unknown), conclusion, "{report}");
        }
    }

    #[test]
    fn shows_every_append_in_one_column() {
        let refused = [("bug", 1), ("conflict", 2), ("invalid", 4), ("timeout", 8)].into();
        let tally = Tally { accepted: 16, refused, unknown: 32, given_up: 64, ..Tally::default() };

        let [_, _, outcomes @ .., _, _, _, _] = tally.columns();

        assert_eq!(outcomes.iter().sum::<u64>(), 127);
    }
}

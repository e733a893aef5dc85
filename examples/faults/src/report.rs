//! The outcome of a run.

use std::collections::BTreeMap;
use std::fmt;

use console::Conclusion;

use crate::Campaign;
use crate::checker::Verdict;
use crate::recorder::Tally;

/// The outcome of a run.
#[derive(Debug)]
pub struct Report {
    /// The checker's result.
    pub verdict: Verdict,
    pub(crate) tallies: BTreeMap<Campaign, Tally>,
    /// The number of events in the final logs.
    pub events: usize,
    /// The seed of all random choices.
    pub seed: u64,
}

impl Report {
    /// Returns the overall result. A violation counts even if no fault took effect in some
    /// campaign.
    pub fn conclusion(&self, expect_unknown: bool) -> Conclusion {
        let is_as_expected =
            self.verdict.is_consistent() && self.verdict.outcomes_are_known() != expect_unknown;
        match is_as_expected {
            false => Conclusion::Failed,
            true if !self.void().is_empty() => Conclusion::Void,
            true => Conclusion::Passed,
        }
    }

    /// Returns the campaigns in which no fault took effect.
    pub fn void(&self) -> Vec<Campaign> {
        let void = self.tallies.iter().filter(|(_, tally)| tally.faults == 0);
        void.map(|(&campaign, _)| campaign).collect()
    }

    /// Returns the number of decisions of a campaign that were accepted under the log's lock.
    pub fn escalated(&self, campaign: Campaign) -> u64 {
        self.tallies.get(&campaign).map_or(0, |tally| tally.escalated)
    }

    /// Returns the number of faults that took effect in a campaign.
    pub fn faults(&self, campaign: Campaign) -> u64 {
        self.tallies.get(&campaign).map_or(0, |tally| tally.faults)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, faults) in self.verdict.all() {
            faults.write(name, f)?;
        }
        let (unknown, answered) = (self.verdict.unknown, self.verdict.answered);
        let share = unknown as f64 * 100.0 / answered.max(1) as f64;
        writeln!(f, "UNKNOWN {unknown} of {answered}: {share:.3} %\n")?;
        write!(f, "{:<10}", "campaign")?;
        for column in COLUMNS {
            write!(f, " {column:>10}")?;
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
                writeln!(f, "{campaign}: {what}: {to_server} bytes sent, {to_client} received")?;
            }
            if let Some(first_error) = &tally.first_error {
                writeln!(f, "{campaign}: first error: {first_error}")?;
            }
        }
        for campaign in self.void() {
            writeln!(f, "void: no fault took effect in the campaign {campaign}")?;
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
        self.abandoned += other.abandoned;
        self.faults += other.faults;
        self.decisions += other.decisions;
        self.superseded += other.superseded;
        self.escalated += other.escalated;
        self.connections += other.connections;
    }

    fn refused_as(&self, class: &str) -> u64 {
        self.refused.get(class).copied().unwrap_or(0)
    }

    /// Returns the values of the columns.
    fn columns(&self) -> [u64; COLUMNS.len()] {
        let named = [CONFLICT, TRANSIENT, TIMEOUT].map(|class| self.refused_as(class));
        let others = self.refused.values().sum::<u64>() - named.iter().sum::<u64>();
        let [conflict, transient, timeout] = named;
        [
            self.faults,
            self.appends,
            self.accepted,
            conflict,
            transient,
            timeout,
            others,
            self.unknown,
            self.abandoned,
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

/// The columns of the table. `refused` counts the error classes without a column of their own.
const COLUMNS: [&str; 13] = [
    "faults",
    "appends",
    "accepted",
    CONFLICT,
    TRANSIENT,
    TIMEOUT,
    "refused",
    "unknown",
    "abandoned",
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

    fn report(faults: u64, unknown: u64, is_consistent: bool) -> Report {
        let mut verdict = Verdict { unknown, answered: 100, ..Verdict::default() };
        verdict.ghosts.count = u64::from(!is_consistent);
        let tally = Tally { faults, ..Tally::default() };
        Report { verdict, tallies: [(Campaign::Cut, tally)].into(), events: 0, seed: 1 }
    }

    #[test]
    fn concludes_from_the_verdict_and_the_number_of_faults() {
        for (faults, unknown, is_consistent, expect_unknown, conclusion) in [
            (1, 0, true, false, Conclusion::Passed),
            (1, 1, true, false, Conclusion::Failed),
            (1, 0, false, false, Conclusion::Failed),
            (0, 0, true, false, Conclusion::Void),
            (0, 0, false, false, Conclusion::Failed),
            (1, 1, true, true, Conclusion::Passed),
            (1, 1, false, true, Conclusion::Failed),
            (1, 0, true, true, Conclusion::Failed),
        ] {
            let report = report(faults, unknown, is_consistent);

            assert_eq!(report.conclusion(expect_unknown), conclusion, "{report}");
        }
    }

    #[test]
    fn shows_every_append_in_one_column() {
        let refused = [("bug", 1), ("conflict", 2), ("invalid", 4), ("timeout", 8)].into();
        let tally = Tally { accepted: 16, refused, unknown: 32, abandoned: 64, ..Tally::default() };

        let [_, _, outcomes @ .., _, _, _, _] = tally.columns();

        assert_eq!(outcomes.iter().sum::<u64>(), 127);
    }
}

use std::fmt;

use crate::plan::Group;
use crate::report::Report;
use crate::report::number::percent;

impl Report {
    /// Writes a table of the shares that were asked for and got.
    pub(super) fn write_shares(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (asked, got) = (&self.asked, self.got());
        let (wanted, found) = (&asked.outcomes, &got.outcomes);
        let has_commands = self.outcomes(|group| !group.is_query()).answered() > 0;
        let has_operations = has_commands || self.outcomes(Group::is_query).answered() > 0;
        let rows = [
            ("success", wanted.success, found.success),
            ("idempotent", wanted.idempotent, found.idempotent),
            ("rejected", wanted.rejected, found.rejected),
            ("commands that lost rounds", asked.lost_rounds, got.lost_rounds),
            ("lending and returning", asked.lending, got.lending),
            ("circulation", asked.circulation, got.circulation),
            ("readers", asked.readers, got.readers),
            (QUERIES, asked.queries, got.queries),
        ];
        let heading = "share of the commands";
        writeln!(f, "\n{heading:NAME_WIDTH$}{:>10}{:>10}{:>15}", "asked", "got", "difference")?;
        for (name, asked, got) in rows {
            let is_known = if name == QUERIES { has_operations } else { has_commands };
            write!(f, "{name:NAME_WIDTH$}{:>10}", percent(asked))?;
            match is_known {
                true => writeln!(f, "{:>10}{:>+8.1} points", percent(got), points(got - asked))?,
                // A share of nothing is no share of zero.
                false => writeln!(f, "{:>10}", "none")?,
            }
        }
        Ok(())
    }
}

/// Returns a difference of shares in percentage points.
fn points(difference: f64) -> f64 {
    let points = difference * 100.0;
    // Without this, a tiny negative difference would be shown as -0.0.
    if points.abs() < 0.05 { 0.0 } else { points }
}

const QUERIES: &str = "queries, of all operations";
const NAME_WIDTH: usize = 28;

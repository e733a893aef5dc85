use std::fmt;

use crate::report::Report;
use crate::report::number::percent;

impl Report {
    /// Writes a table of the shares that were asked for and got.
    pub(super) fn write_shares(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (asked, got) = (&self.asked, self.got());
        let (wanted, found) = (&asked.outcomes, &got.outcomes);
        let rows = [
            ("success", wanted.success, found.success),
            ("idempotent", wanted.idempotent, found.idempotent),
            ("rejected", wanted.rejected, found.rejected),
            ("commands that lost rounds", asked.lost_rounds, got.lost_rounds),
            ("lending and returning", asked.lending, got.lending),
            ("circulation", asked.circulation, got.circulation),
            ("readers", asked.readers, got.readers),
            ("queries, of all operations", asked.queries, got.queries),
        ];
        let heading = "share of the commands";
        writeln!(f, "\n{heading:NAME_WIDTH$}{:>10}{:>10}{:>15}", "asked", "got", "difference")?;
        rows.iter().try_for_each(|(name, asked, got)| {
            let difference = (got - asked) * 100.0;
            // Without this, a tiny negative difference would be shown as -0.0.
            let difference = if difference.abs() < 0.05 { 0.0 } else { difference };
            let (asked, got) = (percent(*asked), percent(*got));
            writeln!(f, "{name:NAME_WIDTH$}{asked:>10}{got:>10}{difference:>+8.1} points")
        })
    }
}

const NAME_WIDTH: usize = 28;

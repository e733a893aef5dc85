//! The result of a run.

use std::fmt;

use crate::comparison::Comparisons;
use crate::five_counts::Counted;

/// All comparisons of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Those of one independent value with one exported value.
    pub comparisons: Comparisons,
    /// Those of the load generator's operations.
    pub counted: Counted,
    /// What was left out, and why.
    pub left_out: Vec<String>,
}

impl Report {
    /// Returns whether all comparisons hold, or all exact ones.
    pub fn holds(&self, exact_only: bool) -> bool {
        let failed = match exact_only {
            true => self.comparisons.failed_exact(),
            false => self.comparisons.failed(),
        };
        failed + self.counted.failed() == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.comparisons, self.counted)?;
        writeln!(f, "## Summary\n")?;
        self.comparisons.write_summary(f)?;
        for left_out in &self.left_out {
            writeln!(f, "\nLeft out: {left_out}")?;
        }
        let failed = self.comparisons.failed() + self.counted.failed();
        let count = self.comparisons.count() + self.counted.count();
        match failed {
            0 => writeln!(f, "\nAll {count} comparisons hold."),
            _ => writeln!(f, "\n{failed} of {count} comparisons FAILED."),
        }
    }
}

use std::fmt;

use super::{Compared, Comparison, MIN_EFFECTIVE_WINDOWS, MIN_WINDOWS, Verdict};
use crate::report::number::decimal;

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.warnings.iter().try_for_each(|warning| writeln!(f, "warning: {warning}"))?;
        writeln!(
            f,
            "{:NAME_WIDTH$}{:>12}{:>12}{:>12}  {:21}  verdict",
            "mean of the windows", "before", "after", "difference", "95 % interval"
        )?;
        self.figures.iter().try_for_each(|figure| figure.fmt(f))?;
        let windows = match self.is_paired {
            true => "each window was compared with the window of the other load at the same time",
            false => "the loads have different plans or windows: only their means were compared",
        };
        writeln!(
            f,
            "{windows}\na verdict needs {MIN_WINDOWS} windows that tell as much as \
             {MIN_EFFECTIVE_WINDOWS} independent ones\nof figures that do not differ, 1 in 20 is \
             called higher or lower by chance; means of latencies are geometric"
        )
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = if self.unit.is_empty() { String::new() } else { format!(", {}", self.unit) };
        let name = format!("{}{unit}", self.name);
        let value = |value: Option<f64>| value.map_or("-".to_owned(), decimal);
        let (first, second) = (value(self.first), value(self.second));
        let difference = self.difference_percent;
        let difference = difference.map_or("-".to_owned(), |percent| format!("{percent:+.1} %"));
        let interval = self
            .interval_percent
            .map_or(String::new(), |(low, high)| format!("{low:+.1} to {high:+.1} %"));
        let verdict = self.verdict;
        writeln!(
            f,
            "{name:NAME_WIDTH$}{first:>12}{second:>12}{difference:>12}  {interval:21}  {verdict}"
        )
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Higher => f.write_str("higher"),
            Self::Lower => f.write_str("lower"),
            Self::NoDifferenceShown => f.write_str("no difference shown"),
            Self::NotTested => f.write_str("not tested: one value per load"),
            Self::TooFewWindows => f.write_str("too few independent windows"),
        }
    }
}

const NAME_WIDTH: usize = 53;

//! Comparisons of an independent value with an exported one.

use std::fmt;

use crate::rounds::{Round, median};

/// A list of comparisons, printed as tables.
#[derive(Clone, Debug, Default)]
pub struct Comparisons {
    parts: Vec<Part>,
}

/// The comparisons of one subject.
#[derive(Clone, Debug)]
struct Part {
    title: String,
    rows: Vec<Row>,
    /// Sentences below the table.
    notes: Vec<String>,
}

/// A comparison.
#[derive(Clone, Debug)]
struct Row {
    what: String,
    independent: String,
    exported: String,
    /// In per cent of the independent value.
    error: Option<f64>,
    bound: String,
    holds: bool,
}

impl Comparisons {
    /// Begins a table.
    pub fn begin(&mut self, title: impl Into<String>) {
        self.parts.push(Part { title: title.into(), rows: Vec::new(), notes: Vec::new() });
    }

    /// Adds the tables of another list.
    pub fn append(&mut self, other: Self) {
        self.parts.extend(other.parts);
    }

    /// Adds a sentence below the current table.
    pub fn note(&mut self, note: impl Into<String>) {
        if let Some(part) = self.parts.last_mut() {
            part.notes.push(note.into());
        }
    }

    /// Compares counts, which must be equal.
    pub fn equal(&mut self, what: impl Into<String>, independent: u64, exported: u64) {
        let error = percent(independent as f64, exported as f64);
        self.add(Row {
            what: what.into(),
            independent: independent.to_string(),
            exported: exported.to_string(),
            error: Some(error),
            bound: EXACT.to_owned(),
            holds: independent == exported,
        });
    }

    /// Compares times in seconds, which may differ by so many per cent.
    pub fn close(&mut self, what: impl Into<String>, independent: f64, exported: f64, bound: f64) {
        let error = percent(independent, exported);
        self.add(Row {
            what: what.into(),
            independent: seconds(independent),
            exported: seconds(exported),
            error: Some(error),
            bound: format!("{bound} %"),
            holds: error.abs() <= bound,
        });
    }

    /// Compares times of several rounds. The median of their errors may be so many per cent, and two
    /// of its standard errors.
    pub fn close_rounds(&mut self, what: impl Into<String>, rounds: &[Round], bound: f64) {
        let (error, noise) = median(rounds.iter().map(Round::error));
        let of = |time: fn(&Round) -> f64| seconds(median(rounds.iter().map(time)).0);
        let (least, greatest) = (of(|round| round.independent.0), of(|round| round.independent.1));
        self.add(Row {
            what: what.into(),
            independent: match least == greatest {
                true => least,
                false => format!("{least} to {greatest}"),
            },
            exported: of(|round| round.exported),
            error: Some(error),
            bound: format!("{bound} % + {:.1} %", 2.0 * noise),
            holds: error.abs() <= bound + 2.0 * noise,
        });
    }

    /// Compares the sums of the durations of calls, in seconds. They may differ by so many per cent.
    /// The caller's clock runs around that of the metric. So the exported sum may also be lower: by
    /// the time between two readings of the clock for each call, and by a slice of time for each
    /// client, in which the processor did something else between two readings.
    pub fn close_sums(
        &mut self,
        what: impl Into<String>,
        (clients, calls, independent): (u32, u64, f64),
        exported: f64,
        bound: f64,
    ) {
        let part = independent * bound / 100.0;
        let lower = part + calls as f64 * BETWEEN_CLOCKS + f64::from(clients) * SLICE;
        self.add(Row {
            what: what.into(),
            independent: seconds(independent),
            exported: seconds(exported),
            error: Some(percent(independent, exported)),
            bound: format!("{bound} % + 2 µs a call + 5 ms a client"),
            holds: (-lower..=part).contains(&(exported - independent)),
        });
    }

    /// Compares a time in seconds with the bucket that has to contain it. `clocks` is how much the
    /// clocks that measured it may differ, in per cent.
    pub fn within(
        &mut self,
        what: impl Into<String>,
        independent: f64,
        bucket: Option<(f64, f64)>,
        clocks: f64,
    ) {
        let (low, high) = (1.0 - clocks / 100.0, 1.0 + clocks / 100.0);
        self.add(Row {
            what: what.into(),
            independent: seconds(independent),
            exported: match bucket {
                Some((lower, upper)) => format!("{} to {}", seconds(lower), seconds(upper)),
                None => "none".to_owned(),
            },
            error: None,
            bound: "in the bucket".to_owned(),
            holds: bucket.is_some_and(|(lower, upper)| {
                independent > lower * low && independent <= upper * high
            }),
        });
    }

    /// Adds a statement that holds or does not.
    pub fn holds(
        &mut self,
        what: impl Into<String>,
        independent: impl Into<String>,
        exported: impl Into<String>,
        holds: bool,
    ) {
        self.add(Row {
            what: what.into(),
            independent: independent.into(),
            exported: exported.into(),
            error: None,
            bound: EXACT.to_owned(),
            holds,
        });
    }

    /// Returns whether all comparisons hold.
    pub fn all_hold(&self) -> bool {
        self.failed() == 0
    }

    /// Returns how many comparisons do not hold.
    pub fn failed(&self) -> usize {
        self.rows().filter(|row| !row.holds).count()
    }

    /// Returns how many exact comparisons do not hold.
    pub fn failed_exact(&self) -> usize {
        self.rows().filter(|row| !row.holds && row.bound == EXACT).count()
    }

    /// Returns how many comparisons there are.
    pub fn count(&self) -> usize {
        self.rows().count()
    }

    /// Writes how many comparisons of each table hold, and the greatest errors.
    ///
    /// # Errors
    ///
    /// Those of the formatter.
    pub fn write_summary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.parts.iter().map(|part| {
            let failed = part.rows.iter().filter(|row| !row.holds).count();
            let greatest = |bound: &str| {
                let rows = part.rows.iter().filter(|row| row.bound.starts_with(bound));
                let errors = rows.filter_map(|row| row.error).map(f64::abs);
                let greatest = errors.max_by(f64::total_cmp);
                greatest.map_or("–".to_owned(), |error| format!("{error:.2} %"))
            };
            let (count, failed) = (part.rows.len().to_string(), failed.to_string());
            [part.title.clone(), count, failed, greatest("2 %"), greatest("10 %")]
        });
        let head = ["table", "comparisons", "failed", "greatest error, bound 2 %", "bound 10 %"];
        write_table(f, head, rows)
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.parts.iter().flat_map(|part| &part.rows)
    }

    fn add(&mut self, row: Row) {
        match self.parts.last_mut() {
            Some(part) => part.rows.push(row),
            None => {
                self.begin("");
                self.add(row);
            }
        }
    }
}

impl fmt::Display for Comparisons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            writeln!(f, "## {}\n", part.title)?;
            let error =
                |row: &Row| row.error.map_or("–".to_owned(), |error| format!("{error:.2} %"));
            let verdict = |row: &Row| if row.holds { "ok" } else { "FAILED" }.to_owned();
            let cells = part.rows.iter().map(|row| {
                let Row { what, independent, exported, bound, .. } = row.clone();
                [what, independent, exported, error(row), bound, verdict(row)]
            });
            write_table(f, ["what", "independent", "exported", "error", "bound", ""], cells)?;
            for note in &part.notes {
                writeln!(f, "\n{note}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// The bound of an exact comparison.
const EXACT: &str = "exact";
/// The longest time from when a metric's clock is read until the caller's clock is, in seconds. It
/// matters for calls that fail before anything is sent.
const BETWEEN_CLOCKS: f64 = 2e-6;
/// How long the processor does something else before a client goes on, in seconds.
const SLICE: f64 = 5e-3;

/// Writes a table of Markdown with columns of equal width.
pub fn write_table<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    head: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> fmt::Result {
    let rows: Vec<_> = rows.into_iter().collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count(), 2]).max().unwrap_or_default()
    };
    let widths: Vec<_> = (0..N).map(width).collect();
    let mut write_row = |cells: [&str; N]| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        writeln!(f, "| {} |", padded.collect::<Vec<_>>().join(" | "))
    };
    write_row(head)?;
    let lines: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
    write_row(std::array::from_fn(|column| lines[column].as_str()))?;
    rows.iter().try_for_each(|row| write_row(std::array::from_fn(|column| row[column].as_str())))
}

/// Returns how much a value is above another one, in per cent.
pub fn percent(independent: f64, exported: f64) -> f64 {
    match independent == exported {
        true => 0.0,
        false => (exported - independent) / independent * 100.0,
    }
}

/// Returns a time as text.
pub fn seconds(time: f64) -> String {
    match time {
        time if time >= 1.0 => format!("{time:.3} s"),
        time if time >= 0.001 => format!("{:.3} ms", time * 1e3),
        time => format!("{:.1} µs", time * 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(compare: impl FnOnce(&mut Comparisons)) -> bool {
        let mut comparisons = Comparisons::default();
        comparisons.begin("test");
        compare(&mut comparisons);
        assert_eq!(comparisons.count(), 1);
        assert_eq!(comparisons.to_string().contains("FAILED"), !comparisons.all_hold());
        comparisons.all_hold()
    }

    #[test]
    fn counts_that_differ_by_one_fail() {
        assert!(verdict(|rows| rows.equal("calls", 1_000_000, 1_000_000)));
        assert!(!verdict(|rows| rows.equal("calls", 1_000_000, 1_000_001)));
        assert!(!verdict(|rows| rows.equal("calls", 0, 1)));
    }

    #[test]
    fn times_beyond_their_bound_fail() {
        assert!(verdict(|rows| rows.close("sum", 10.0, 10.19, 2.0)));
        for exported in [9.79, 10.21, f64::NAN] {
            assert!(!verdict(|rows| rows.close("sum", 10.0, exported, 2.0)), "{exported}");
        }
        assert!(!verdict(|rows| rows.close("sum", 0.0, 1.0, 2.0)));
    }

    #[test]
    fn rounds_beyond_their_bound_fail() {
        let holds = |exported: [f64; 5]| {
            let rounds = exported.map(|exported| Round { independent: (3.0, 4.0), exported });
            verdict(|rows| rows.close_rounds("mean", &rounds, 10.0))
        };

        assert!(holds([2.75, 3.0, 3.5, 4.0, 4.35]));
        assert!(holds([2.75, 2.75, 2.75, 90.0, 90.0]));
        assert!(!holds([2.65; 5]) && !holds([4.45; 5]) && !holds([f64::NAN; 5]));
    }

    #[test]
    fn exported_sums_may_be_a_slice_lower_for_each_client() {
        let holds = |clients, exported| {
            verdict(|rows| rows.close_sums("sum", (clients, 100, 1.0), exported, 2.0))
        };

        assert!(holds(1, 1.019) && holds(1, 0.976));
        assert!(!holds(1, 1.021) && !holds(16, 1.021) && !holds(1, 0.974));
        assert!(holds(16, 0.901) && !holds(16, 0.899) && !holds(16, f64::NAN));
    }

    #[test]
    fn quantiles_outside_of_their_bucket_fail() {
        let bucket = Some((0.001, 0.0025));

        assert!(verdict(|rows| rows.within("p50", 0.002, bucket, 2.0)));
        assert!(verdict(|rows| rows.within("p50", 0.002_52, bucket, 2.0)));
        assert!(!verdict(|rows| rows.within("p50", 0.0009, bucket, 2.0)));
        assert!(!verdict(|rows| rows.within("p50", 0.002_6, bucket, 2.0)));
        assert!(!verdict(|rows| rows.within("p50", 0.002, None, 2.0)));
    }
}

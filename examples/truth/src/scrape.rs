//! The text of `/metrics`, read without the help of the library that wrote it.

use std::collections::{BTreeMap, HashMap};

use crate::Failure;

/// A series: the name of a sample and its labels.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Series {
    /// The name, for instance `eventstore_events_total`.
    pub name: String,
    /// The labels.
    pub labels: Labels,
}

/// The labels of a series.
pub type Labels = BTreeMap<String, String>;

/// The samples of a scrape, or the growth between two scrapes.
#[derive(Clone, Debug, Default)]
pub struct Scrape {
    /// The values by the labels of their series, by name.
    samples: BTreeMap<String, HashMap<Labels, f64>>,
    /// The kinds of the metrics, by their names.
    kinds: BTreeMap<String, String>,
}

/// The values of one or several histograms with the same boundaries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// The number of values.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The upper boundary of each bucket, and the number of values up to it.
    pub buckets: Vec<(f64, u64)>,
}

impl Scrape {
    /// Parses the text format of Prometheus.
    ///
    /// # Errors
    ///
    /// [`Failure::Malformed`] with the line that is not understood.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let mut scrape = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(comment) = line.strip_prefix('#') {
                if let Some((name, kind)) =
                    comment.strip_prefix(" TYPE ").and_then(|rest| rest.split_once(' '))
                {
                    scrape.kinds.insert(name.to_owned(), kind.to_owned());
                }
                continue;
            }
            let parsed = parse_sample(line);
            let (series, value) = parsed
                .ok_or_else(|| Failure::Malformed(format!("this is not a sample: {line:?}")))?;
            let named = scrape.samples.entry(series.name).or_default();
            if named.insert(series.labels, value).is_some() {
                return Err(Failure::Malformed(format!("this is there twice: {line:?}")));
            }
        }
        Ok(scrape)
    }

    /// Collects samples of other origin.
    pub fn of_samples(samples: impl IntoIterator<Item = (Series, f64)>) -> Self {
        let mut scrape = Self::default();
        for (series, value) in samples {
            scrape.samples.entry(series.name).or_default().insert(series.labels, value);
        }
        scrape
    }

    /// Returns the growth of all samples since an earlier scrape.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut growth = self.clone();
        for (name, values) in &mut growth.samples {
            let Some(before) = earlier.samples.get(name) else { continue };
            for (labels, value) in values {
                *value -= before.get(labels).unwrap_or(&0.0);
            }
        }
        growth
    }

    /// Returns the value of a series.
    pub fn value(&self, name: &str, labels: &Labels) -> Option<f64> {
        self.samples.get(name)?.get(labels).copied()
    }

    /// Returns whether all counters and histograms have the values of an earlier scrape.
    pub fn has_counts_of(&self, earlier: &Self) -> bool {
        let counts = self.samples.iter().filter(|(name, _)| self.kind(name) != Some("gauge"));
        counts.into_iter().all(|(name, values)| earlier.samples.get(name) == Some(values))
    }

    /// Returns the kind of a metric: `counter`, `gauge` or `histogram`.
    pub fn kind(&self, name: &str) -> Option<&str> {
        self.kinds.get(name).map(String::as_str)
    }

    /// Returns the names of the metrics.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.kinds.keys().map(String::as_str)
    }

    /// Returns the sum of all series of a name that have these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let matching = self.of(name).filter(|(series, _)| has(series, labels));
        matching.map(|(_, value)| value).sum()
    }

    /// Returns the sum of counts, which are whole numbers.
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.sum(name, labels).round() as u64
    }

    /// Returns the sum of all histograms of a name that have these labels.
    pub fn histogram(&self, name: &str, labels: &[(&str, &str)]) -> Histogram {
        let mut buckets: Vec<(f64, u64)> = Vec::new();
        let bucket = format!("{name}_bucket");
        for (series, value) in self.of(&bucket).filter(|(series, _)| has(series, labels)) {
            let upper = series.get("le").map_or("", String::as_str);
            let upper = upper.replace("+Inf", "inf").parse().unwrap_or(f64::NAN);
            match buckets.iter_mut().find(|(other, _)| *other == upper) {
                Some((_, count)) => *count += value.round() as u64,
                None => buckets.push((upper, value.round() as u64)),
            }
        }
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        Histogram {
            count: self.count(&format!("{name}_count"), labels),
            sum: self.sum(&format!("{name}_sum"), labels),
            buckets,
        }
    }

    /// Returns the sums of a name by the value of a label.
    pub fn by(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for (series, value) in self.of(name) {
            let label = series.get(label).cloned().unwrap_or_default();
            *sums.entry(label).or_insert(0.0) += value;
        }
        sums
    }

    /// Iterates over the series of a name.
    pub fn of(&self, name: &str) -> impl Iterator<Item = (&Labels, f64)> {
        let values = self.samples.get(name).into_iter().flatten();
        values.map(|(labels, value)| (labels, *value))
    }
}

impl Histogram {
    /// Returns the mean of the values.
    pub fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }

    /// Returns the boundaries of the bucket that holds a quantile.
    pub fn bucket(&self, quantile: f64) -> Option<(f64, f64)> {
        let rank = rank(self.count, quantile)?;
        let index = self.buckets.iter().position(|(_, count)| *count >= rank)?;
        let lower = index.checked_sub(1).map_or(0.0, |below| self.buckets[below].0);
        Some((lower, self.buckets[index].0))
    }
}

/// Returns whether a series has all of these labels.
fn has(series: &Labels, labels: &[(&str, &str)]) -> bool {
    let has = |(name, value): &(&str, &str)| series.get(*name).map_or("", String::as_str) == *value;
    labels.iter().all(has)
}

/// Returns which of the sorted values, counted from 1, is a quantile.
pub fn rank(count: u64, quantile: f64) -> Option<u64> {
    (count > 0).then(|| ((count as f64 * quantile).ceil() as u64).clamp(1, count))
}

fn parse_sample(line: &str) -> Option<(Series, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = parse_labels(inner, &mut labels)?;
    }
    let value = rest.trim().replace("+Inf", "inf").parse().ok()?;
    Some((Series { name: name.to_owned(), labels }, value))
}

/// Parses labels up to the closing brace. Returns what is behind it.
fn parse_labels<'a>(mut rest: &'a str, labels: &mut BTreeMap<String, String>) -> Option<&'a str> {
    loop {
        if let Some(behind) = rest.strip_prefix('}') {
            return Some(behind);
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let (value, behind) = parse_quoted(quoted)?;
        labels.insert(name.to_owned(), value);
        rest = behind.strip_prefix(',').unwrap_or(behind);
    }
}

/// Parses text up to the closing quote. Returns it and what is behind the quote.
fn parse_quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP a_seconds how long\n# TYPE a_seconds histogram\n\
        a_seconds_bucket{name=\"x\",le=\"0.5\"} 3\na_seconds_bucket{name=\"x\",le=\"1\"} 9\n\
        a_seconds_bucket{name=\"x\",le=\"+Inf\"} 10\na_seconds_sum{name=\"x\"} 7.25\n\
        a_seconds_count{name=\"x\"} 10\n# TYPE b_total counter\n\
        b_total{name=\"a \\\"quoted\\\", \\\\ and\\nbroken\"} 4\nc 1e-3\n";

    #[test]
    fn names_labels_and_values_are_read() {
        let scrape = Scrape::parse(TEXT).unwrap();

        assert_eq!(scrape.count("b_total", &[("name", "a \"quoted\", \\ and\nbroken")]), 4);
        assert_eq!(scrape.sum("c", &[]), 0.001);
        assert_eq!(scrape.kind("a_seconds"), Some("histogram"));
    }

    #[test]
    fn the_bucket_of_a_quantile_holds_its_rank() {
        let scrape = Scrape::parse(TEXT).unwrap();

        let histogram = scrape.histogram("a_seconds", &[("name", "x")]);

        assert_eq!((histogram.count, histogram.mean()), (10, 0.725));
        let expected = [(0.3, (0.0, 0.5)), (0.31, (0.5, 1.0)), (0.9, (0.5, 1.0))];
        for (quantile, bucket) in expected {
            assert_eq!(histogram.bucket(quantile), Some(bucket), "{quantile}");
        }
        assert_eq!(histogram.bucket(0.99), Some((1.0, f64::INFINITY)));
        assert_eq!(Histogram::default().bucket(0.5), None);
    }

    #[test]
    fn growth_begins_at_zero_for_a_series_that_is_new() {
        let (before, after) = ("b_total{n=\"1\"} 4\n", "b_total{n=\"1\"} 6\nb_total{n=\"2\"} 5\n");
        let (before, after) = (Scrape::parse(before).unwrap(), Scrape::parse(after).unwrap());

        let growth = after.since(&before);

        assert_eq!(growth.by("b_total", "n"), [("1".into(), 2.0), ("2".into(), 5.0)].into());
    }

    #[test]
    fn text_of_another_format_is_refused() {
        for text in ["a{b=\"c} 1", "a", "a{b} 1", "a b c", "a 1\na 2"] {
            assert!(Scrape::parse(text).is_err(), "{text:?}");
        }
    }
}

//! Series that grow evenly, so that their rates are known exactly.

use eddyline::telemetry::INSTRUMENTS;

use crate::metrics::{Metric, Part, base_name};

/// Returns all series as `promtool` reads them: those of `series.txt`, and much higher ones of
/// another job, of other processes and of another store.
pub fn all() -> String {
    let mut all = String::new();
    for (number, line) in include_str!("series.txt").lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut columns = line.split(" | ");
        let name = columns.next().unwrap_or_default();
        let (a, b) = (columns.next().expect("a value of a"), columns.next().expect("a value of b"));
        // Each line has another number, so that shares and means differ as well.
        let high = 1_000 * number;
        let high = if a.contains(" of ") { format!("{high} of 7") } else { high.to_string() };
        for (job, instance, store, values) in [
            ("eddyline", "a", "loans", a),
            ("eddyline", "b", "loans", b),
            ("other", "a", "loans", &*high),
            ("eddyline", "c", "loans", &*high),
            ("eddyline", "a", "archive", &*high),
        ] {
            if !name.starts_with("eventstore_handler_") {
                let owner = format!("job=\"{job}\", instance=\"{instance}\", store=\"{store}\"");
                all.push_str(&series(name, &owner, values));
            } else if store == "loans" {
                let owner = format!("job=\"{job}\", instance=\"{instance}\"");
                all.push_str(&series(name, &owner, values));
            }
        }
    }
    all
}

/// Returns the names in `series.txt`, with their labels.
fn names() -> impl Iterator<Item = &'static str> {
    let lines = include_str!("series.txt").lines();
    lines.filter(|line| !line.starts_with('#')).filter_map(|line| line.split(" | ").next())
}

#[test]
fn the_series_have_the_names_and_labels_of_the_catalog() {
    let mut missing: Vec<_> = INSTRUMENTS.iter().map(|instrument| instrument.name).collect();
    for name in names().filter(|name| !name.is_empty()) {
        let (metric, labels) = name.split_once('{').unwrap();
        let metric = Metric::named(metric).or_else(|| Metric::named(&format!("{metric}_bucket")));
        let metric = metric.unwrap_or_else(|| panic!("{name} is unknown"));
        for label in labels.split("\", ").filter_map(|label| label.split('=').next()) {
            assert!(label == "}" || metric.has_label(label), "{name} has no label {label}");
        }
        missing.retain(|missing| *missing != metric.instrument.name);
    }
    assert!(missing.is_empty(), "no series of {missing:?}");
}

/// Returns a line of `series.txt` for a process, as one series or as those of a histogram.
fn series(name: &str, owner: &str, values: &str) -> String {
    let (metric, labels) = name.trim_end_matches('}').split_once('{').expect("labels in braces");
    let separator = if labels.is_empty() { "" } else { ", " };
    let labels = format!("{owner}{separator}{labels}");
    let Some(found) = Metric::named(metric) else {
        return histogram(metric, &labels, values);
    };
    let value: f64 = values.parse().expect("a number");
    match found.part {
        Part::Level => one(metric, &labels, value, 0.0),
        _ => one(metric, &labels, 0.0, value * INTERVAL),
    }
}

/// Returns the series of a histogram.
fn histogram(name: &str, labels: &str, values: &str) -> String {
    let metric = Metric::named(&format!("{name}_bucket")).expect("a histogram of the catalog");
    assert_eq!(base_name(metric.instrument), name);
    let observations: Vec<(f64, f64)> = values
        .split(", ")
        .map(|one| one.split_once(" of ").expect("a number of a value"))
        .map(|(number, value)| (number.parse().expect("a number"), value.parse().expect("a value")))
        .collect();
    let boundaries = metric.instrument.boundaries.iter().copied().chain([f64::INFINITY]);
    let mut text = String::new();
    for boundary in boundaries {
        let below = observations.iter().filter(|(_, value)| *value <= boundary);
        let below = below.fold(0.0, |sum, (number, _)| sum + number);
        let boundary = if boundary.is_finite() { boundary.to_string() } else { "+Inf".to_owned() };
        let labels = format!("{labels}, le=\"{boundary}\"");
        text.push_str(&one(&format!("{name}_bucket"), &labels, 0.0, below * INTERVAL));
    }
    let count: f64 = observations.iter().map(|(number, _)| number).sum();
    let sum: f64 = observations.iter().map(|(number, value)| number * value).sum();
    text.push_str(&one(&format!("{name}_count"), labels, 0.0, count * INTERVAL));
    text.push_str(&one(&format!("{name}_sum"), labels, 0.0, sum * INTERVAL));
    text
}

/// Returns a series of 15 minutes.
fn one(metric: &str, labels: &str, first: f64, growth: f64) -> String {
    format!("      - series: '{metric}{{{labels}}}'\n        values: '{first}+{growth}x60'\n")
}

/// The seconds between two samples.
const INTERVAL: f64 = 15.0;

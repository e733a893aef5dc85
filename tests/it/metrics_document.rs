//! `docs/metrics.md` describes the instruments that the crate has, as the crate has them.

use std::collections::BTreeSet;
use std::fs;

use eddyline::telemetry::{INSTRUMENTS, Instrument, InstrumentKind};

fn document() -> String {
    fs::read_to_string("docs/metrics.md").unwrap()
}

/// Returns the beginning of an instrument's section, up to its notes.
fn section(instrument: &Instrument) -> String {
    let kind = match instrument.kind {
        InstrumentKind::Counter => "Counter",
        InstrumentKind::Gauge => "Gauge",
        InstrumentKind::Histogram => "Histogram",
        _ => "Up-down counter",
    };
    let Instrument { name, unit, description, .. } = instrument;
    let attributes: Vec<_> = instrument.attributes.iter().map(|one| format!("`{one}`")).collect();
    let boundaries: Vec<_> = instrument.boundaries.iter().map(f64::to_string).collect();
    let boundaries = match boundaries.is_empty() {
        true => String::new(),
        false => format!("Boundaries: {}.\n", boundaries.join(" ")),
    };
    let attributes = attributes.join(", ");
    format!(
        "### `{name}`\n\n{kind}, unit `{unit}`: {description}.\n\nAttributes: {attributes}.\n{boundaries}\n"
    )
}

/// Returns the name of an instrument's series in Prometheus: that of its sum, if it is a histogram.
fn series(instrument: &Instrument) -> String {
    let name = instrument.name.replace('.', "_");
    let unit = if instrument.unit == "s" { "_seconds" } else { "" };
    let ending = match instrument.kind {
        InstrumentKind::Counter => "_total",
        _ => "",
    };
    format!("{name}{unit}{ending}")
}

#[test]
fn every_instrument_has_a_section() {
    let document = document();
    let mut at = 0;
    for instrument in INSTRUMENTS {
        let expected = section(instrument);
        let found = document[at..].find(&expected);
        at += found.unwrap_or_else(|| panic!("docs/metrics.md lacks, in this order:\n{expected}"));
    }
    let sections = document.matches("\n### `").count();
    assert_eq!(sections, INSTRUMENTS.len());
}

#[test]
fn every_section_has_a_query_of_its_instrument() {
    let document = document();
    for instrument in INSTRUMENTS {
        let (_, rest) = document.split_once(&section(instrument)).unwrap();
        let rest = rest.split("\n### ").next().unwrap();
        let (_, query) = rest.split_once("```promql\n").expect(instrument.name);

        let query = query.split("```").next().unwrap();
        assert!(query.contains(&series(instrument)), "{}: {query}", instrument.name);
    }
}

#[test]
fn every_attribute_has_a_row() {
    let document = document();
    let used: BTreeSet<_> = INSTRUMENTS.iter().flat_map(|one| one.attributes).copied().collect();
    let (_, table) = document.split_once("| attribute | values |\n| --- | --- |\n").unwrap();
    let rows = table.lines().map_while(|line| line.strip_prefix("| `"));
    let described: BTreeSet<_> = rows.map(|row| row.split('`').next().unwrap()).collect();

    assert_eq!(described, used);
}

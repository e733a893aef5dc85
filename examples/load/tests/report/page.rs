use load::report::{Report, page};
use load::tally::Snapshot;
use serde_json::Value;

use crate::browser::{Element, elements};
use crate::sample;
use crate::shown::{points, wrong_number};

/// Returns what is wrong with the page of a report: errors of its scripts, charts without points,
/// and numbers that are not those of the JSON.
fn problems(html: &str, report: &Report, charts: &[&str]) -> Vec<String> {
    let elements = elements(html);
    let json: Value = serde_json::from_str(&report.to_json()).unwrap();
    let points = points(&elements);
    let numbers: Vec<&Element> =
        elements.iter().filter(|one| one.attribute("data-value-of").is_some()).collect();
    let mut problems = Vec::new();
    for (attribute, expected) in [("data-errors", "0"), ("data-ready", "true")] {
        let found = elements.iter().find_map(|one| one.attribute(attribute));
        if found.as_deref() != Some(expected) {
            problems.push(format!("{attribute} is {found:?}"));
        }
    }
    for chart in charts {
        if points.get(*chart).copied().unwrap_or(0) == 0 {
            problems.push(format!("the chart {chart} has no points"));
        }
    }
    if numbers.len() < 60 {
        problems.push(format!("only {} numbers are shown", numbers.len()));
    }
    problems.extend(numbers.into_iter().filter_map(|number| wrong_number(number, &json)));
    problems
}

#[test]
fn shows_all_charts_and_the_numbers_of_the_json() {
    let report = sample::report();

    let problems = problems(&page(&report), &report, &CHARTS);

    assert_eq!(problems, [""; 0]);
}

#[test]
fn says_in_words_what_a_load_does_not_have() {
    let report = sample::quiet_report();
    let html = page(&report);
    let absent = ["batches", "lag", "limit", "waits"];
    let present: Vec<_> = CHARTS.into_iter().filter(|chart| !absent.contains(chart)).collect();

    let elements = elements(&html);

    assert_eq!(problems(&html, &report, &present), [""; 0]);
    for chart in ["batches", "lag", "waits"] {
        assert_eq!(points(&elements).get(chart), Some(&0), "{chart}");
    }
    for text in [
        "No fault was injected.",
        "No replica was observed.",
        "No active session was seen.",
        "The sizes of the transactions are not known.",
        "The highest rate was not looked for.",
        "The audit was not run.",
        "No operation failed.",
    ] {
        assert!(elements.iter().any(|element| element.text == text), "{text}");
    }
}

#[test]
fn shows_the_findings_of_the_audit_first() {
    let mut report = sample::report();
    let finding = "event 17 was acknowledged at position 17 and is lost <b>";
    let audit = report.audit.as_mut().unwrap();
    audit.findings.add(finding.to_owned());

    let elements = elements(&page(&report));

    let place = |text: &str| elements.iter().position(|element| element.text.contains(text));
    assert!(place(finding).unwrap() < place("Latency").unwrap());
    assert!(elements.iter().any(|element| element.text == "findings"));
    assert!(!elements.iter().any(|element| element.text == "clean"));
}

#[test]
fn a_load_without_operations_has_a_page_without_errors() {
    let mut report = sample::quiet_report();
    report.load = Snapshot::default();

    let problems = problems(&page(&report), &report, &[]);

    assert_eq!(problems, [""; 0]);
}

#[test]
fn a_page_whose_charts_lost_their_data_fails_the_check() {
    let report = sample::report();
    let mut broken = report.clone();
    broken.load.windows.clear();

    let problems = problems(&page(&broken), &broken, &CHARTS);

    assert!(problems.iter().any(|one| one == "the chart latency has no points"), "{problems:?}");
}

#[test]
fn a_page_with_the_numbers_of_another_report_fails_the_check() {
    let report = sample::report();
    let mut other = report.clone();
    other.load.commands.latency.p99 *= 1.01;

    let problems = problems(&page(&other), &report, &CHARTS);

    assert!(problems.iter().any(|one| one.starts_with("/load/commands/latency/p99 ")));
}

#[test]
fn a_page_with_an_error_in_a_script_fails_the_check() {
    let report = sample::report();
    let html = page(&report);
    let broken = html.replacen("function drawRate(report) {", "function drawRate() {", 1);
    assert_ne!(broken, html);

    let problems = problems(&broken, &report, &CHARTS);

    assert!(problems.contains(&"data-errors is Some(\"1\")".to_owned()), "{problems:?}");
    assert!(problems.contains(&"data-ready is None".to_owned()), "{problems:?}");
}

#[test]
fn texts_of_a_report_are_not_run_as_a_part_of_the_page() {
    let mut report = sample::report();
    let attack = "</script><img src=x onerror=alert()>/* page.js */<!--\u{2028}";
    report.load.errors.insert(attack.to_owned(), 3);
    report.faults[0].text = attack.to_owned();

    let html = page(&report);

    assert!(!html.contains("<img"));
    assert_eq!(problems(&html, &report, &CHARTS), [""; 0]);
    assert!(!elements(&html).iter().any(|element| element.attribute("onerror").is_some()));
}

const CHARTS: [&str; 15] = [
    "asked-mix",
    "asked-outcomes",
    "backlog",
    "batches",
    "distribution",
    "lag",
    "latency",
    "limit",
    "lost-rounds",
    "histories",
    "outcomes",
    "rate",
    "read-shares",
    "reads",
    "waits",
];

//! The page about the dashboards names what exists, and everything that matters.

use std::collections::BTreeSet;
use std::fs;

use dashboards::alerts::alerts;
use dashboards::files::folder;
use dashboards::queries::dashboards;

fn page() -> String {
    fs::read_to_string(folder().join("../docs/dashboards.md")).unwrap()
}

/// Returns the cells of the rows of the table under a heading, without its head.
fn table<'a>(page: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let section = page.split(&format!("\n## {heading}\n")).nth(1).expect("the heading");
    let rows = section.lines().skip_while(|line| !line.starts_with('|'));
    let rows = rows.take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

#[test]
fn the_panels_that_answer_questions_exist() {
    let titles: BTreeSet<_> = dashboards()
        .iter()
        .flat_map(|dashboard| {
            let panels = dashboard.rows.iter().flat_map(|row| &row.panels);
            panels.map(|panel| (dashboard.title, panel.title)).collect::<Vec<_>>()
        })
        .collect();

    let page = page();
    let questions = table(&page, "Questions and panels");
    assert!(questions.len() >= 20);
    for question in questions {
        let [_, dashboard, panels] = question.as_slice() else {
            panic!("{question:?} has no three cells");
        };
        for panel in panels.split("; ") {
            assert!(titles.contains(&(*dashboard, panel)), "there is no {dashboard} / {panel}");
        }
    }
}

#[test]
fn every_row_is_described() {
    let page = page();
    let described: BTreeSet<_> =
        table(&page, "Rows").iter().map(|cells| cells[0].to_owned()).collect();
    let rows: BTreeSet<_> = dashboards()
        .iter()
        .flat_map(|dashboard| dashboard.rows.iter().map(|row| row.title.to_owned()))
        .collect();

    assert_eq!(described, rows);
}

#[test]
fn every_alert_is_described() {
    let page = page();
    let described = table(&page, "Alerts");
    let described: Vec<_> = described.iter().map(|cells| (cells[0], cells[1], cells[2])).collect();
    let alerts = alerts();
    let expected: Vec<_> =
        alerts.iter().map(|alert| (alert.name, alert.severity.as_str(), alert.duration)).collect();

    assert_eq!(described, expected);
}

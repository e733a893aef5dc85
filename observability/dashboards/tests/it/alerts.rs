//! The alerts keep the rules of expressions.

use std::collections::BTreeSet;
use std::path::Path;

use dashboards::alert_tests::{TESTS, file};
use dashboards::alerts::{Alert, alerts, rules};
use dashboards::files::folder;
use promql_parser::parser::Expr;

use crate::expression::parse;
use crate::promtool::{promtool, written};
use crate::rules::{Problems, check_expression};

/// Returns what is wrong with the expression of an alert.
pub fn check(expression: &str) -> Problems {
    match parse(expression) {
        Ok(parsed) => {
            let mut problems = check_expression(&parsed);
            match parsed {
                Expr::Binary(binary) if binary.op.is_comparison_operator() => {}
                _ => problems.push("the alert compares nothing".to_owned()),
            }
            problems
        }
        Err(error) => vec![error],
    }
}

#[test]
fn the_alerts_keep_all_rules() {
    for alert in alerts() {
        let problems = check(alert.expression);

        assert!(problems.is_empty(), "{}: {problems:#?}", alert.name);
    }
}

#[test]
fn the_alerts_have_names_and_texts() {
    let mut names = BTreeSet::new();
    for alert in alerts() {
        assert!(names.insert(alert.name), "{} is repeated", alert.name);
        assert!(alert.duration.ends_with('m'), "{}", alert.name);
        assert!(alert.summary.len() > 20, "{}", alert.name);
        assert!(alert.description.len() > 60, "{}", alert.name);
    }
}

#[test]
fn promtool_accepts_the_rules_and_the_configuration() {
    let folder = folder().join("prometheus");

    for (kind, file) in [("rules", "alerts.yml"), ("config", "prometheus.yml")] {
        promtool([Path::new("check"), Path::new(kind), &folder.join(file)])
            .unwrap_or_else(|problem| panic!("{problem}"));
    }
}

#[test]
fn each_alert_fires_when_it_must_and_not_before() {
    let names: Vec<_> = TESTS.iter().map(|test| test.alert).collect();
    let alerts: Vec<_> = alerts().iter().map(|alert| alert.name).collect();
    assert_eq!(names, alerts);

    let file = folder().join("prometheus/alerts_test.yml");
    promtool([Path::new("test"), Path::new("rules"), &file])
        .unwrap_or_else(|problem| panic!("{problem}"));
}

/// Each change makes the alert miss its series, or fire for the calm ones.
#[test]
fn an_alert_with_another_condition_fails_its_test() {
    for (number, (name, old, new)) in [
        ("EventStoreTargetDown", "== 0", "== 1"),
        ("EventStoreErrors", "> 0.01", "> 0.02"),
        ("EventStoreErrors", "> 0.01", ">= 0.01"),
        ("EventStoreErrors", "error|timeout", "error"),
        ("EventStoreErrors", "/ sum by (job, store, operation)", "/ on() group_left() sum"),
        ("EventStoreOutcomeUnknown", "{class=\"outcome_unknown\"}", ""),
        ("EventStoreOutcomeUnknown", "> 0", "> 1000"),
        ("EventStoreSlowWrites", "0.99", "0.5"),
        ("EventStoreSlowWrites", "append|decide", "append|decide|stream"),
        ("EventStoreSlowWrites", "> 0.5", "> 0.25"),
        ("LibraryErrors", "> 0.01", "> 0.1"),
        ("EventStoreConflicts", "> 0.2", ">= 0.2"),
        ("EventStoreConflicts", "> 0.2", "> 0.25"),
        ("EventStoreRetriesExhausted", "exhausted|deadline|budget", "recovered"),
        ("EventStoreAppendQueue", "> 1000", ">= 1000"),
        ("EventStoreAppendQueue", "job, instance, store", "job, store"),
        ("EventStoreReplicaLag", "max by", "sum by"),
        ("EventStoreReplicaLag", "max by", "min by"),
        ("EventStoreReplicaDelay", "max by", "avg by"),
        ("EventStoreReplicaDelay", "> 30", ">= 30"),
        ("EventStoreReplicaFaults", "> 0", ">= 0"),
        ("EventStoreReplicaFallbacks", "> 1", "> 0.9"),
        ("EventStorePoolTimeouts", "> 0", ">= 0"),
        ("EventStorePoolPending", "min_over_time", "max_over_time"),
        ("EventStoreConnectionFailures", "> 0", ">= 0"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut alert = alerts().into_iter().find(|alert| alert.name == name).unwrap();
        assert!(alert.expression.contains(old), "{name} has no {old}");
        let expression = alert.expression.replace(old, new);
        alert.expression = &expression;

        let result = result_of_test(&alert, &format!("{name}_{number}"));

        let problem = result.expect_err(&format!("{name} with {new} passes its test"));
        assert!(problem.contains(&format!("alertname: {name}, ")), "{problem}");
    }
}

#[test]
fn an_alert_that_does_not_wait_fails_its_test() {
    for alert in alerts() {
        let result = result_of_test(&Alert { duration: "0m", ..alert }, alert.name);

        let problem = result.expect_err(&format!("{} without a wait passes its test", alert.name));
        assert!(problem.contains(&format!("alertname: {}, ", alert.name)), "{problem}");
    }
}

/// Tests an alert that was changed.
fn result_of_test(alert: &Alert<'_>, file_name: &str) -> Result<(), String> {
    let test = TESTS.iter().find(|test| test.alert == alert.name).unwrap();
    let rules = written(&format!("{file_name}.yml"), &rules(&[*alert]));
    let tests = file(&[*test]).replace("- alerts.yml", &format!("- {}", rules.display()));
    let tests = written(&format!("{file_name}_test.yml"), &tests);
    promtool([Path::new("test"), Path::new("rules"), &tests])
}

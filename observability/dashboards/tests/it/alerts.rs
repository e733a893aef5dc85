//! The alerts keep the rules of expressions.

use std::collections::BTreeSet;

use dashboards::alerts::alerts;
use promql_parser::parser::Expr;

use crate::expression::parse;
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

//! Panels select by the variables of the dashboard.

use promql_parser::label::MatchOp;
use promql_parser::parser::Expr;
use serde_json::{Value, json};

use super::Problems;
use crate::dashboard::targets;
use crate::expression::{Selector, selectors};

/// Returns whether a panel and its targets use the data source that the reader has chosen.
pub fn check_datasources(panel: &Value) -> Problems {
    let chosen = json!({ "type": "prometheus", "uid": "${datasource}" });
    let sources = targets(panel).iter().map(|target| &target["datasource"]);
    let mut sources = sources.chain([&panel["datasource"]]);
    match sources.find(|source| **source != chosen) {
        Some(source) => vec![format!("the data source {source} is not the variable")],
        None => Vec::new(),
    }
}

/// Returns whether each range of an expression is the one that fits the scrapes.
pub fn check_intervals(expression: &str) -> Problems {
    let ranges = expression.split('[').skip(1);
    let fixed = ranges.filter(|range| !range.starts_with("$__rate_interval]"));
    fixed.map(|range| format!("the range [{range} is not $__rate_interval")).collect()
}

/// Returns whether each selector has the variables that its metric has labels for.
pub fn check_selectors(expression: &Expr) -> Problems {
    let mut problems = Vec::new();
    for selector in selectors(expression) {
        let mut variables = vec![("job", "$job"), ("instance", "$instance")];
        if selector.metric().is_some_and(|metric| metric.has_label("store")) {
            variables.push(("store", "$store"));
        }
        for (label, variable) in variables {
            if !selects(selector, label, variable) {
                problems.push(format!("{} does not select {label} by {variable}", selector.name()));
            }
        }
    }
    problems
}

fn selects(selector: Selector<'_>, label: &str, variable: &str) -> bool {
    selector.matchers().iter().any(|matcher| {
        matcher.name == label && matcher.value == variable && matches!(matcher.op, MatchOp::Re(_))
    })
}

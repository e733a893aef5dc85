//! Metrics, labels and values exist.

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{Expr, LabelModifier};

use super::Problems;
use crate::expression::{Selector, all, grouping, is_quotient, selectors, without_parentheses};

/// Returns the metrics, labels and values that do not exist.
pub fn check(expression: &Expr) -> Problems {
    let mut problems = Vec::new();
    for selector in selectors(expression) {
        if selector.name() != SCRAPED && selector.metric().is_none() {
            problems.push(format!("there is no metric {}", selector.name()));
        }
        for matcher in selector.matchers() {
            problems.extend(check_matcher(selector, matcher));
        }
    }
    for part in all(expression) {
        for label in named_labels(part) {
            for selector in selectors(part).iter().filter(|selector| !has_label(selector, label)) {
                problems.push(format!("{} has no label {label}", selector.name()));
            }
        }
    }
    problems
}

/// Returns whether a legend tells the series of an expression apart, by labels that they have.
pub fn check_legend(expression: &Expr, legend: &str) -> Problems {
    let named = legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next());
    let mut named: Vec<_> = named.collect();
    named.sort_unstable();
    let mut labels = result_labels(expression);
    labels.retain(|label| *label != "le");
    if named == labels {
        return Vec::new();
    }
    vec![format!("the legend {legend} does not name the labels {labels:?}")]
}

/// Returns the labels of the series that an expression returns.
fn result_labels(expression: &Expr) -> Vec<&str> {
    match without_parentheses(expression) {
        Expr::Binary(binary) if is_quotient(expression) => result_labels(&binary.lhs),
        Expr::Call(call) => call.args.args.last().map(|last| grouping(last)).unwrap_or_default(),
        other => grouping(other),
    }
}

fn check_matcher(selector: Selector<'_>, matcher: &Matcher) -> Problems {
    let name = selector.name();
    if !has_label(&selector, &matcher.name) {
        return vec![format!("{name} has no label {}", matcher.name)];
    }
    let Some(metric) = selector.metric() else {
        return Vec::new();
    };
    if ["instance", "job", "store"].contains(&matcher.name.as_str()) {
        return Vec::new();
    }
    let values = match matcher.op {
        MatchOp::Equal | MatchOp::NotEqual => vec![matcher.value.as_str()],
        MatchOp::Re(_) | MatchOp::NotRe(_) => matcher.value.split('|').collect(),
    };
    let unknown = values.into_iter().filter(|value| !metric.has_value(&matcher.name, value));
    unknown.map(|value| format!("{name} has no {}=\"{value}\"", matcher.name)).collect()
}

/// Returns the labels that an aggregation or the matching of an operator names.
fn named_labels(expression: &Expr) -> Vec<&str> {
    let modifier = match expression {
        Expr::Aggregate(aggregate) => aggregate.modifier.as_ref(),
        Expr::Binary(binary) => {
            binary.modifier.as_ref().and_then(|modifier| modifier.matching.as_ref())
        }
        _ => None,
    };
    match modifier {
        Some(LabelModifier::Include(labels) | LabelModifier::Exclude(labels)) => {
            labels.labels.iter().map(AsRef::as_ref).collect()
        }
        None => Vec::new(),
    }
}

fn has_label(selector: &Selector<'_>, label: &str) -> bool {
    match selector.metric() {
        Some(metric) => metric.has_label(label),
        // The catalog says nothing about others.
        None => true,
    }
}

/// The metric of Prometheus that says whether a scrape succeeded.
const SCRAPED: &str = "up";

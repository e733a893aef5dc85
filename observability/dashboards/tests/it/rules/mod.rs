//! What must hold for each dashboard and each expression. A rule returns what is wrong.

mod grid;
mod labels;
mod options;
mod quotients;
mod rates;
mod texts;
mod units;
mod variables;

use promql_parser::parser::Expr;
use serde_json::Value;

use crate::dashboard::{both, panels, targets, title};
use crate::expression::parse;

/// What is wrong, beginning with the title of the panel or the name of the alert.
pub type Problems = Vec<String>;

/// Returns all that is wrong with a dashboard.
pub fn check(dashboard: &Value) -> Problems {
    let mut problems = grid::check(dashboard);
    problems.extend(texts::check(dashboard));
    problems.extend(options::check(dashboard));
    for panel in panels(dashboard) {
        problems.extend(check_panel(panel));
    }
    problems
}

/// Returns all that is wrong with the data of a panel.
pub fn check_panel(panel: &Value) -> Problems {
    let mut problems = variables::check_datasources(panel);
    for target in targets(panel) {
        let text = target["expr"].as_str().unwrap_or_default();
        problems.extend(variables::check_intervals(text));
        match parse(text) {
            Ok(expression) => {
                let legend = target["legendFormat"].as_str().unwrap_or_default();
                let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap_or_default();
                problems.extend(check_expression(&expression));
                problems.extend(variables::check_selectors(&expression));
                problems.extend(labels::check_legend(&expression, legend));
                problems.extend(units::check(&expression, unit));
            }
            Err(error) => problems.push(format!("{text} is no expression: {error}")),
        }
    }
    problems.into_iter().map(|problem| format!("{}: {problem}", title(panel))).collect()
}

/// Returns what is wrong with an expression of a panel or an alert.
pub fn check_expression(expression: &Expr) -> Problems {
    let mut problems = labels::check(expression);
    problems.extend(rates::check(expression));
    problems.extend(quotients::check(expression));
    problems
}

/// Returns the names of the metrics of a dashboard.
pub fn metrics(dashboard: &Value) -> Vec<String> {
    let targets = panels(dashboard).into_iter().flat_map(targets);
    let expressions = targets.filter_map(|target| parse(target["expr"].as_str()?).ok());
    let names = |expression: Expr| {
        let selectors = crate::expression::selectors(&expression);
        selectors.iter().map(|selector| selector.name().to_owned()).collect::<Vec<_>>()
    };
    expressions.flat_map(names).collect()
}

#[test]
fn the_dashboards_keep_all_rules() {
    for dashboard in both() {
        let problems = check(&dashboard);

        assert!(problems.is_empty(), "{problems:#?}");
        assert!(panels(&dashboard).len() > 20);
    }
}

#[test]
fn every_instrument_of_the_catalog_is_shown() {
    let shown: Vec<_> = both().iter().flat_map(metrics).collect();

    let missing = missing(&shown);
    assert!(missing.is_empty(), "not shown: {missing:?}");
}

/// Returns the instruments of the catalog that none of these metrics belongs to.
pub fn missing(shown: &[String]) -> Vec<&'static str> {
    let shown: Vec<_> =
        shown.iter().filter_map(|name| crate::metrics::Metric::named(name)).collect();
    let names = eddyline::telemetry::INSTRUMENTS.iter().map(|instrument| instrument.name);
    names.filter(|name| shown.iter().all(|metric| metric.instrument.name != *name)).collect()
}

//! The settings of a dashboard as a whole, and its colors.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Problems;
use crate::dashboard::panels;
use crate::metrics::Metric;

/// Returns what is wrong with the settings.
pub fn check(dashboard: &Value) -> Problems {
    let mut problems = Vec::new();
    let expected = [
        ("editable", json!(false)),
        ("refresh", json!("10s")),
        ("schemaVersion", json!(41)),
        ("time", json!({ "from": "now-30m", "to": "now" })),
    ];
    for (name, value) in expected {
        if dashboard[name] != value {
            problems.push(format!("{name} is {} and not {value}", dashboard[name]));
        }
    }
    if dashboard["version"].as_u64().is_none_or(|version| version == 0) {
        problems.push("the dashboard has no version".to_owned());
    }
    // Grafana gives dashboards their numbers.
    if dashboard.get("id").is_some() {
        problems.push("the dashboard has a number".to_owned());
    }
    problems.extend(check_variables(dashboard));
    problems.extend(check_colors(dashboard));
    problems
}

fn check_variables(dashboard: &Value) -> Problems {
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<_> = variables.iter().map(|variable| &variable["name"]).collect();
    let mut problems = Vec::new();
    if names != ["datasource", "job", "instance", "store"] {
        problems.push(format!("the variables are {names:?}"));
    }
    for variable in variables.iter().filter(|variable| variable["type"] == "query") {
        // A variable that is read once does not know processes that started later.
        if variable["refresh"] != 2 {
            problems.push(format!("{} is not read again", variable["name"]));
        }
        let query = variable["query"]["query"].as_str().unwrap_or_default();
        let metric = query.split(['(', '{', ',']).nth(1).unwrap_or_default();
        if Metric::named(metric).is_none() {
            problems.push(format!("{} reads the unknown metric {metric:?}", variable["name"]));
        }
    }
    problems
}

/// A name has one color in all panels.
fn check_colors(dashboard: &Value) -> Problems {
    let mut colors = BTreeMap::new();
    let mut problems = Vec::new();
    for panel in panels(dashboard) {
        for one in panel["fieldConfig"]["overrides"].as_array().into_iter().flatten() {
            let name = one["matcher"]["options"].as_str().unwrap_or_default();
            let color = &one["properties"][0]["value"]["fixedColor"];
            if *colors.entry(name).or_insert(color) != color {
                problems.push(format!("{name} has several colors"));
            }
        }
    }
    problems
}

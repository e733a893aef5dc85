//! Everything has a title and a description, and what must be unique is unique.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Problems;
use crate::dashboard::{panels, targets, title};

/// Returns what is wrong with the texts and identities.
pub fn check(dashboard: &Value) -> Problems {
    let mut problems = Vec::new();
    for name in ["uid", "title", "description"] {
        if is_empty(&dashboard[name]) {
            problems.push(format!("the dashboard has no {name}"));
        }
    }
    for panel in dashboard["panels"].as_array().unwrap() {
        if is_empty(&panel["title"]) {
            problems.push("a panel has no title".to_owned());
        }
    }
    for panel in panels(dashboard) {
        let description = panel["description"].as_str().unwrap_or_default();
        let (meaning, remedy) = description.split_once("**What to do:** ").unwrap_or_default();
        if meaning.trim().len() < 20 || remedy.trim().len() < 20 {
            problems.push(format!("{} is not described", title(panel)));
        }
        if targets(panel).is_empty() {
            problems.push(format!("{} shows nothing", title(panel)));
        }
        for name in ["refId", "legendFormat"] {
            let values = targets(panel).iter().map(|target| &target[name]);
            problems.extend(repeated(title(panel), values));
        }
    }
    let all = || dashboard["panels"].as_array().unwrap().iter();
    problems.extend(repeated("ids", all().map(|panel| &panel["id"])));
    problems.extend(repeated("titles", all().map(|panel| &panel["title"])));
    problems
}

fn is_empty(text: &Value) -> bool {
    text.as_str().is_none_or(|text| text.trim().is_empty())
}

fn repeated<'a>(what: &str, values: impl Iterator<Item = &'a Value>) -> Problems {
    let mut seen = BTreeSet::new();
    let texts = values.map(ToString::to_string);
    texts
        .filter(|text| !seen.insert(text.clone()))
        .map(|text| format!("{what}: {text} is repeated"))
        .collect()
}

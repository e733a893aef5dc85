//! What a page shows: the points of its charts, and numbers that name their value.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::browser::Element;

/// Returns the number of points of each chart.
pub fn points(elements: &[Element]) -> BTreeMap<String, u64> {
    let chart = |one: &Element| {
        let points = one.attribute("data-points")?.parse().unwrap();
        Some((one.attribute("data-chart")?, points))
    };
    elements.iter().filter_map(chart).collect()
}

/// Compares a number of the page with the JSON, with the precision in which it is shown.
pub fn wrong_number(shown: &Element, json: &Value) -> Option<String> {
    let pointer = shown.attribute("data-value-of").unwrap();
    let scale: f64 = shown.attribute("data-scale").unwrap().parse().unwrap();
    let value = json.pointer(&pointer).and_then(Value::as_f64);
    let text = shown.text.replace(',', "");
    let places = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let is_right = match (value, text.parse::<f64>()) {
        (Some(value), Ok(number)) => {
            let rounding = 0.5 * 0.1_f64.powi(i32::try_from(places).unwrap());
            (value * scale - number).abs() <= rounding * 1.000_001
        }
        (None, _) => text == "–",
        (Some(_), Err(_)) => false,
    };
    (!is_right).then(|| format!("{pointer} is {value:?} and is shown as {text:?}"))
}

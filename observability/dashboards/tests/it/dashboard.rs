//! What a dashboard's JSON contains, as Grafana reads it.

use dashboards::json;
use dashboards::queries::dashboards;
use serde_json::Value;

/// Returns the JSON of both dashboards.
pub fn both() -> [Value; 2] {
    dashboards().map(|dashboard| json::dashboard(&dashboard))
}

/// Returns the panels, without the titles of rows.
pub fn panels(dashboard: &Value) -> Vec<&Value> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    panels.filter(|panel| panel["type"] != "row").collect()
}

/// Returns the title of a panel.
pub fn title(panel: &Value) -> &str {
    panel["title"].as_str().unwrap_or_default()
}

/// Returns the targets of a panel.
pub fn targets(panel: &Value) -> &[Value] {
    panel["targets"].as_array().map_or(&[], Vec::as_slice)
}

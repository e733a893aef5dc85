//! The JSON of Grafana's classic dashboards, which Grafana 10 to 13 read.

use serde_json::{Value, json};

use crate::colors;
use crate::grid::{Place, places};
use crate::model::{Dashboard, Panel};

/// Returns a dashboard as Grafana reads it.
pub fn dashboard(dashboard: &Dashboard) -> Value {
    json!({
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["eddyline"],
        "version": VERSION,
        "schemaVersion": 41,
        "editable": false,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": { "from": "now-30m", "to": "now" },
        "timezone": "browser",
        "timepicker": {},
        "annotations": { "list": [] },
        "links": [links()],
        "templating": { "list": variables(dashboard) },
        "panels": panels(dashboard),
    })
}

/// A link to the other dashboards with the same tag.
fn links() -> Value {
    json!({
        "type": "dashboards",
        "title": "Dashboards",
        "tags": ["eddyline"],
        "asDropdown": false,
        "icon": "external link",
        "includeVars": true,
        "keepTime": true,
        "targetBlank": false,
        "tooltip": "",
    })
}

fn variables(dashboard: &Dashboard) -> Vec<Value> {
    let Dashboard { announced, stores, .. } = dashboard;
    let selected = "job=~\"$job\", instance=~\"$instance\"";
    vec![
        json!({
            "type": "datasource",
            "name": "datasource",
            "label": "Data source",
            "query": "prometheus",
            "refresh": 1,
            "hide": 0,
        }),
        variable("job", "Job", &format!("label_values({announced}, job)")),
        variable(
            "instance",
            "Instance",
            &format!("label_values({announced}{{job=~\"$job\"}}, instance)"),
        ),
        variable("store", "Event store", &format!("label_values({stores}{{{selected}}}, store)")),
    ]
}

/// A variable with the values of a label. With all of them chosen, it matches every value.
fn variable(name: &str, label: &str, query: &str) -> Value {
    json!({
        "type": "query",
        "name": name,
        "label": label,
        "datasource": datasource(),
        "query": {
            "qryType": 1,
            "query": query,
            "refId": "PrometheusVariableQueryEditor-VariableQuery",
        },
        "multi": true,
        "includeAll": true,
        "allValue": ".*",
        "current": { "selected": true, "text": ["All"], "value": ["$__all"] },
        "refresh": 2,
        "sort": 1,
        "hide": 0,
    })
}

fn panels(dashboard: &Dashboard) -> Vec<Value> {
    let mut panels = Vec::new();
    for (row, places) in dashboard.rows.iter().zip(places(dashboard)) {
        let id = panels.len() + 1;
        panels.push(json!({
            "id": id,
            "type": "row",
            "title": row.title,
            "collapsed": false,
            "gridPos": grid_position(places.title),
            "panels": [],
        }));
        for (panel, place) in row.panels.iter().zip(places.panels) {
            let id = panels.len() + 1;
            panels.push(time_series(id, panel, place));
        }
    }
    panels
}

fn time_series(id: usize, panel: &Panel, place: Place) -> Value {
    let targets = panel.series.iter().zip('A'..).map(|(series, name)| {
        json!({
            "refId": name.to_string(),
            "datasource": datasource(),
            "expr": series.expression,
            "legendFormat": series.legend,
            "range": true,
            "instant": false,
        })
    });
    json!({
        "id": id,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.description(),
        "datasource": datasource(),
        "gridPos": grid_position(place),
        "targets": targets.collect::<Vec<_>>(),
        "fieldConfig": { "defaults": defaults(panel), "overrides": overrides(panel) },
        "options": {
            "legend": {
                "displayMode": "table",
                "placement": "bottom",
                "showLegend": true,
                "calcs": ["lastNotNull", "max"],
                // Many series are announced with 0: the highest ones are on top.
                "sortBy": "Max",
                "sortDesc": true,
            },
            "tooltip": { "mode": "multi", "sort": "desc", "hideZeros": true },
        },
    })
}

fn defaults(panel: &Panel) -> Value {
    let (stacking, fill) = if panel.is_stacked { ("normal", 40) } else { ("none", 8) };
    json!({
        "unit": panel.unit.as_str(),
        "min": 0,
        "color": { "mode": "palette-classic-by-name" },
        "custom": {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": fill,
            "showPoints": "never",
            "spanNulls": false,
            "stacking": { "mode": stacking, "group": "A" },
        },
    })
}

fn overrides(panel: &Panel) -> Vec<Value> {
    let known = panel.series.iter().flat_map(|series| colors::known(series.legend));
    let overrides = known.map(|(name, color)| {
        json!({
            "matcher": { "id": "byName", "options": name },
            "properties": [{ "id": "color", "value": { "mode": "fixed", "fixedColor": color } }],
        })
    });
    overrides.collect()
}

fn grid_position(place: Place) -> Value {
    json!({ "x": place.x, "y": place.y, "w": place.width, "h": place.height })
}

fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

/// The version of the dashboards. Grafana's history shows it.
const VERSION: u32 = 1;

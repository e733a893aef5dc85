//! Each rule finds a panel, a dashboard or an alert that is broken on purpose.

use serde_json::{Value, json};

use crate::alerts;
use crate::dashboard::both;
use crate::rules::{Problems, check, check_panel, metrics, missing};

/// An expression that keeps all rules, with its unit and its legend.
struct Correct {
    expression: &'static str,
    unit: &'static str,
    legend: &'static str,
}

/// Returns what is wrong with the event store's dashboard after a change.
fn broken(change: impl FnOnce(&mut Value)) -> Problems {
    let [mut dashboard, _] = both();
    change(&mut dashboard);
    check(&dashboard)
}

/// Returns what is wrong with a panel that has a correct expression with some changes.
fn changed(correct: &Correct, changes: &[(&str, &str)]) -> Problems {
    let mut expression = correct.expression.to_owned();
    for (old, new) in changes {
        assert!(expression.contains(old), "{old} is not in {expression}");
        expression = expression.replace(old, new);
    }
    let variables = "job=~\"$job\", instance=~\"$instance\", store=~\"$store\"";
    expression = expression.replace("VARIABLES", variables);
    let [dashboard, _] = both();
    let mut panel = dashboard["panels"][1].clone();
    panel["targets"][0]["expr"] = json!(expression);
    panel["targets"][0]["legendFormat"] = json!(correct.legend);
    panel["fieldConfig"]["defaults"]["unit"] = json!(correct.unit);
    check_panel(&panel)
}

fn assert_found(problems: &Problems, expected: &str) {
    let is_found = problems.iter().any(|problem| problem.contains(expected));
    assert!(is_found, "{expected:?} is not among {problems:#?}");
}

#[test]
fn the_correct_expressions_have_no_problems() {
    for correct in [RATE, MEAN, QUANTILE, SHARE, LAG, DELAY] {
        let problems = changed(&correct, &[]);

        assert!(problems.is_empty(), "{problems:#?}");
    }
}

#[test]
fn metrics_labels_and_values_that_do_not_exist_are_found() {
    for (old, new, expected) in [
        ("sum by", "sum bye", "is no expression"),
        ("outcomes_total", "outcome_total", "there is no metric"),
        ("outcomes_total", "outcomes", "there is no metric"),
        ("by (operation)", "by (otel_scope_name)", "has no label otel_scope_name"),
        ("outcome=", "result=", "has no label result"),
        ("\"success\"", "\"succes\"", "has no outcome=\"succes\""),
        ("\"success\"", "\"idempotent\"", "has no outcome=\"idempotent\""),
        ("by (operation)", "by (server)", "does not name the labels [\"server\"]"),
        ("by (operation)", "by (operation, server)", "does not name the labels"),
        ("by (operation) ", "", "does not name the labels []"),
    ] {
        assert_found(&changed(&RATE, &[(old, new)]), expected);
    }
    assert_found(&changed(&SHARE, &[("|timeout", "|late")]), "has no outcome=\"late\"");
    assert_found(&changed(&DELAY, &[("delay_seconds", "delay")]), "there is no metric");
}

#[test]
fn selectors_and_ranges_without_variables_are_found() {
    for (old, new, expected) in [
        ("VARIABLES", "job=\"$job\", instance=~\"$instance\"", "does not select job by $job"),
        ("VARIABLES", "job=~\"$job\"", "does not select instance by $instance"),
        ("VARIABLES", "job=~\"$job\"", "does not select store by $store"),
        ("$__rate_interval", "5m", "is not $__rate_interval"),
    ] {
        assert_found(&changed(&RATE, &[(old, new)]), expected);
    }
    for target in ["datasource", "targets"] {
        let problems = broken(|dashboard| {
            let panel = &mut dashboard["panels"][2];
            let changed = if target == "targets" {
                &mut panel[target][0]["datasource"]
            } else {
                &mut panel[target]
            };
            changed["uid"] = json!("prometheus");
        });
        assert_found(&problems, "is not the variable");
    }
}

#[test]
fn raw_counters_and_rates_of_gauges_are_found() {
    let raw = [("rate(", "("), ("[$__rate_interval]", "")];
    assert_found(&changed(&RATE, &raw), "is a counter without a rate");
    assert_found(&changed(&MEAN, &raw), "is a counter without a rate");
    assert_found(&changed(&RATE, &[("rate(", "max_over_time(")]), "is a counter without a rate");

    let rate = [("eventstore_replica_lag", "rate(eventstore_replica_lag"), ("})", "}[1m]))")];
    assert_found(&changed(&LAG, &rate), "is no counter and has no rate");
}

#[test]
fn wrong_quantiles_are_found() {
    for (old, new, expected) in [
        ("0.95", "95", "is not between 0 and 1"),
        ("by (le) ", "", "is no sum by le"),
        ("sum by", "avg by", "is no sum by le"),
        ("_bucket", "_sum", "has no buckets"),
        ("histogram_quantile(0.95, ", "(", "buckets are summed outside of a quantile"),
    ] {
        assert_found(&changed(&QUANTILE, &[(old, new)]), expected);
    }
}

#[test]
fn sums_and_means_of_quotients_are_found() {
    // The sum of the means of all series.
    let per_series = [
        ("_count{VARIABLES}[$__rate_interval]))", "_count{VARIABLES}[$__rate_interval])))"),
        ("[$__rate_interval])) / sum by (server) ", "[$__rate_interval]) / "),
    ];
    assert_found(&changed(&MEAN, &per_series), "aggregates quotients");

    for aggregate in ["sum", "avg", "max"] {
        let whole = format!("{aggregate} by (server) ({})", MEAN.expression);
        let problems = changed(&MEAN, &[(MEAN.expression, &whole)]);
        assert_found(&problems, "aggregates quotients");

        let whole = format!("{aggregate}({})", QUANTILE.expression);
        let problems = changed(&QUANTILE, &[(QUANTILE.expression, &whole)]);
        assert_found(&problems, "aggregates quotients");
    }
}

#[test]
fn quotients_of_different_things_are_found() {
    for (old, new, expected) in [
        ("_count{VARIABLES}", "_count{VARIABLES, outcome=\"success\"}", "other observations"),
        ("/ sum by (server)", "/ sum by (operation)", "different labels"),
        ("/ sum by (server)", "/ avg by (server)", "is no sum"),
        ("/ sum by (server)", "/ ", "is no sum"),
        ("duration_seconds_count", "outcomes_total", "is divided by"),
    ] {
        assert_found(&changed(&MEAN, &[(old, new)]), expected);
    }
    let lacking = [("/ sum(rate(eventstore_operation_outcomes_total{VARIABLES", LACKING)];
    assert_found(&changed(&SHARE, &lacking), "is divided by a number that lacks it");
}

#[test]
fn wrong_units_are_found() {
    for (correct, unit, expected) in [
        (RATE, "short", "the unit is \"short\" and not \"ops\""),
        (MEAN, "ms", "the unit is \"ms\" and not \"s\""),
        (QUANTILE, "ms", "the unit is \"ms\" and not \"s\""),
        (SHARE, "percent", "the unit is \"percent\" and not \"percentunit\""),
        (LAG, "s", "the unit is \"s\" and not \"short\""),
        (DELAY, "", "the unit is \"\" and not \"s\""),
    ] {
        assert_found(&changed(&Correct { unit, ..correct }, &[]), expected);
    }
    assert_found(
        &changed(&MEAN, &[("_sum", "_count")]),
        "the unit is \"s\" and not \"percentunit\"",
    );
}

#[test]
fn overlaps_and_holes_are_found() {
    let place = |dashboard: &mut Value, panel: usize, name: &str, value: u64| {
        dashboard["panels"][panel]["gridPos"][name] = json!(value);
    };

    assert_found(&broken(|one| place(one, 1, "w", 7)), "no panel is at x = 7, y = 1");
    assert_found(&broken(|one| place(one, 1, "w", 9)), "overlaps");
    assert_found(&broken(|one| place(one, 3, "w", 9)), "is wider than the grid");
    assert_found(&broken(|one| place(one, 1, "y", 2)), "overlaps");
    assert_found(&broken(|one| place(one, 1, "h", 7)), "no panel is at x = 0, y = 8");
    assert_found(&broken(|one| place(one, 0, "h", 2)), "has the wrong height");
}

#[test]
fn missing_and_repeated_texts_are_found() {
    for name in ["uid", "title", "description"] {
        let problems = broken(|dashboard| dashboard[name] = json!(" "));
        assert_found(&problems, &format!("the dashboard has no {name}"));
    }
    let problems = broken(|dashboard| dashboard["panels"][1]["title"] = json!(""));
    assert_found(&problems, "a panel has no title");
    for description in ["", "The time of an append from its call to its result."] {
        let problems =
            broken(|dashboard| dashboard["panels"][1]["description"] = json!(description));
        assert_found(&problems, "is not described");
    }
    let problems = broken(|dashboard| dashboard["panels"][1]["targets"] = json!([]));
    assert_found(&problems, "shows nothing");
    let problems = broken(|dashboard| dashboard["panels"][1]["id"] = json!(3));
    assert_found(&problems, "ids: 3 is repeated");
    let problems = broken(|dashboard| {
        let target = dashboard["panels"][6]["targets"][0].clone();
        dashboard["panels"][6]["targets"][1] = target;
    });
    assert_found(&problems, "is repeated");
}

#[test]
fn wrong_settings_are_found() {
    for (name, value, expected) in [
        ("editable", json!(true), "editable is true"),
        ("refresh", json!("1m"), "refresh is"),
        ("schemaVersion", json!(27), "schemaVersion is 27"),
        ("time", json!({ "from": "now-5m", "to": "now" }), "time is"),
        ("version", json!(0), "has no version"),
        ("id", json!(7), "has a number"),
    ] {
        assert_found(&broken(|dashboard| dashboard[name] = value), expected);
    }
    let problems = broken(|one| one["templating"]["list"][1]["name"] = json!("service"));
    assert_found(&problems, "the variables are");
    let problems = broken(|one| one["templating"]["list"][1]["refresh"] = json!(1));
    assert_found(&problems, "is not read again");
    let problems = broken(|one| {
        one["templating"]["list"][3]["query"]["query"] = json!("label_values(stores_total, store)");
    });
    assert_found(&problems, "reads the unknown metric \"stores_total\"");
    let problems = broken(|one| {
        let colors = &mut one["panels"][6]["fieldConfig"]["overrides"][0];
        colors["properties"][0]["value"]["fixedColor"] = json!("purple");
    });
    assert_found(&problems, "has several colors");
}

#[test]
fn an_instrument_that_is_not_shown_is_found() {
    let [event_store, library] = both();
    let mut shown = metrics(&event_store);
    shown.extend(metrics(&library));
    shown.retain(|name| !name.starts_with("eventstore_append_batch"));

    assert_eq!(missing(&shown), ["eventstore.append.batch"]);
}

#[test]
fn wrong_alerts_are_found() {
    for (expression, expected) in [
        ("sum(rate(eventstore_errors_total[5m])) >", "invalid promql"),
        ("sum(rate(eventstore_errors_total[5m]))", "compares nothing"),
        ("sum(eventstore_errors_total) > 0", "is a counter without a rate"),
        ("sum(rate(eventstore_error_total[5m])) > 0", "there is no metric"),
        ("sum(rate(eventstore_errors_total{class=\"unknown\"}[5m])) > 0", "has no class"),
        ("sum(rate(eventstore_errors_total{error_type=\"timeout\"}[5m])) > 0", "has no label"),
        ("sum by (scope) (rate(eventstore_errors_total[5m])) > 0", "has no label scope"),
        ("histogram_quantile(0.99, rate(eventstore_append_batch_bucket[5m])) > 9", "is no sum"),
    ] {
        assert_found(&alerts::check(expression), expected);
    }
}

const RATE: Correct = Correct {
    expression: "sum by (operation) (rate(eventstore_operation_outcomes_total{VARIABLES, \
        outcome=\"success\"}[$__rate_interval]))",
    unit: "ops",
    legend: "{{operation}}",
};
const MEAN: Correct = Correct {
    expression: "sum by (server) (rate(eventstore_operation_duration_seconds_sum{VARIABLES}\
        [$__rate_interval])) / sum by (server) \
        (rate(eventstore_operation_duration_seconds_count{VARIABLES}[$__rate_interval]))",
    unit: "s",
    legend: "{{server}}",
};
const QUANTILE: Correct = Correct {
    expression: "histogram_quantile(0.95, sum by (le) \
        (rate(eventstore_operation_duration_seconds_bucket{VARIABLES}[$__rate_interval])))",
    unit: "s",
    legend: "P95",
};
const SHARE: Correct = Correct {
    expression: "sum(rate(eventstore_operation_outcomes_total{VARIABLES, \
        outcome=~\"error|timeout\"}[$__rate_interval])) \
        / sum(rate(eventstore_operation_outcomes_total{VARIABLES}[$__rate_interval]))",
    unit: "percentunit",
    legend: "share",
};
const LAG: Correct = Correct {
    expression: "max by (server) (eventstore_replica_lag{VARIABLES})",
    unit: "short",
    legend: "{{server}}",
};
const DELAY: Correct = Correct {
    expression: "max by (server) (eventstore_replica_delay_seconds{VARIABLES})",
    unit: "s",
    legend: "{{server}}",
};
/// A whole that does not contain all of its part.
const LACKING: &str =
    "/ sum(rate(eventstore_operation_outcomes_total{VARIABLES, outcome=~\"error|success\"";

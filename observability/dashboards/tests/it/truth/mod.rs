//! Each expression of the panels, evaluated by `promtool` over series with known results.

mod results;
mod series;

use std::path::Path;

use dashboards::{PanelQuery, Variables, panels};

use self::results::Expected;
use crate::promtool::{promtool, written};

/// The variables that select the series of the two processes and of no other.
const SELECTED: Variables<'_> = Variables {
    datasource: "prometheus",
    job: "eddyline",
    instance: "a|b",
    store: "loans",
    rate_interval: "1m",
};

/// Evaluates the expressions of the panels.
fn evaluate(
    file_name: &str,
    queries: &[PanelQuery],
    expected: &[Expected],
    variables: Variables<'_>,
) -> Result<(), String> {
    let mut file = String::from("evaluation_interval: 15s\ntests:\n  - interval: 15s\n");
    file.push_str("    input_series:\n");
    file.push_str(&series::all());
    file.push_str("    promql_expr_test:\n");
    for query in queries {
        let result = expected.iter().find(|result| result.belongs_to(query));
        let result = result.unwrap_or_else(|| panic!("no result is known of {query:?}"));
        let expression = variables.replace_in(&query.expression).replace('\'', "''");
        file.push_str(&format!(
            "      - expr: 'round({expression}, 0.000001)'\n        eval_time: 10m\n        \
             exp_samples:\n{}",
            result.samples()
        ));
    }
    let path = written(file_name, &file);
    promtool([Path::new("test"), Path::new("rules"), &path])
}

#[test]
fn each_panel_shows_the_known_result() {
    evaluate("panels_test.yml", &panels(), &results::all(), SELECTED)
        .unwrap_or_else(|problem| panic!("{problem}"));
}

#[test]
fn each_result_belongs_to_one_panel() {
    let queries = panels();
    for result in results::all() {
        let owners = queries.iter().filter(|query| result.belongs_to(query)).count();

        assert_eq!(owners, 1, "{result:?}");
        assert!(!result.samples.is_empty(), "{result:?}");
    }
}

/// Without the value of a variable, each panel would also show what belongs to another job, to
/// another process, or to another store.
#[test]
fn each_expression_selects_by_each_variable() {
    for (name, variables) in [
        ("job", Variables { job: ".*", ..SELECTED }),
        ("instance", Variables { instance: ".*", ..SELECTED }),
        ("store", Variables { store: ".*", ..SELECTED }),
    ] {
        let queries = panels();
        let queries = queries.iter().filter(|query| query.expression.contains(&format!("${name}")));
        let queries: Vec<_> = queries.cloned().collect();

        let problem = evaluate(&format!("{name}_test.yml"), &queries, &results::all(), variables)
            .expect_err("all series were selected");

        let failed = problem.matches("expr: ").count();
        assert_eq!(failed, queries.len(), "{name}: {problem}");
    }
}

#[test]
fn a_wrong_result_is_found() {
    let mut expected = results::all();
    for result in &mut expected {
        result.samples[0].value += 0.000_001;
    }

    let problem = evaluate("wrong_test.yml", &panels(), &expected, SELECTED).unwrap_err();

    assert_eq!(problem.matches("expr: ").count(), panels().len(), "{problem}");
}

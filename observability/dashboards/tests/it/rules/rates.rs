//! Counters are shown as rates, and quantiles come from buckets.

use promql_parser::parser::{Expr, token};

use super::Problems;
use crate::expression::{all, grouping, selectors, without_parentheses};
use crate::metrics::Part;

/// Returns the counters without a rate, the gauges with one, and the quantiles of other things than
/// buckets.
pub fn check(expression: &Expr) -> Problems {
    let mut problems = Vec::new();
    for selector in selectors(expression) {
        let is_rate = matches!(selector.function, Some("rate" | "increase"));
        let Some(metric) = selector.metric() else {
            continue;
        };
        if metric.is_counter() && !is_rate {
            problems.push(format!("{} is a counter without a rate", selector.name()));
        }
        if !metric.is_counter() && is_rate {
            problems.push(format!("{} is no counter and has no rate", selector.name()));
        }
    }
    for part in all(expression) {
        problems.extend(check_quantile(part));
    }
    let quantiles = all(expression).into_iter().filter(|part| is_quantile(part)).count();
    let buckets = selectors(expression).into_iter().filter_map(|selector| selector.metric());
    let buckets = buckets.filter(|metric| metric.part == Part::Bucket).count();
    if buckets > quantiles {
        problems.push("buckets are summed outside of a quantile".to_owned());
    }
    problems
}

fn is_quantile(expression: &Expr) -> bool {
    matches!(expression, Expr::Call(call) if call.func.name == "histogram_quantile")
}

fn check_quantile(expression: &Expr) -> Problems {
    let Expr::Call(call) = expression else {
        return Vec::new();
    };
    if !is_quantile(expression) {
        return Vec::new();
    }
    let [quantile, values] = call.args.args.as_slice() else {
        return vec!["a quantile has two arguments".to_owned()];
    };
    let mut problems = Vec::new();
    let value = match quantile.as_ref() {
        Expr::NumberLiteral(number) => number.val,
        _ => f64::NAN,
    };
    if !(value > 0.0 && value < 1.0) {
        problems.push(format!("{quantile} is not between 0 and 1"));
    }
    let is_sum = matches!(
        without_parentheses(values),
        Expr::Aggregate(aggregate) if aggregate.op.id() == token::T_SUM
    );
    if !is_sum || !grouping(values).contains(&"le") {
        problems.push(format!("{values} is no sum by le"));
    }
    let metrics = selectors(values).into_iter().filter_map(|selector| selector.metric());
    if metrics.into_iter().any(|metric| metric.part != Part::Bucket) {
        problems.push(format!("{values} has no buckets"));
    }
    problems
}

//! Means and shares are quotients of sums: a sum or mean of quotients has no meaning.

use promql_parser::label::Matcher;
use promql_parser::parser::{BinaryExpr, Expr, token};

use super::Problems;
use crate::expression::{Selector, all, grouping, is_quotient, selectors, without_parentheses};
use crate::metrics::Part;

/// Returns the aggregations of quotients or quantiles, and the quotients of different things.
pub fn check(expression: &Expr) -> Problems {
    let mut problems = Vec::new();
    for part in all(expression) {
        match part {
            Expr::Aggregate(aggregate) => {
                let inner = all(&aggregate.expr);
                if inner.iter().any(|part| is_quotient(part) || is_quantile(part)) {
                    problems.push(format!("{} aggregates quotients or quantiles", aggregate.op));
                }
            }
            Expr::Binary(binary) if is_quotient(part) => problems.extend(check_quotient(binary)),
            _ => {}
        }
    }
    problems
}

fn is_quantile(expression: &Expr) -> bool {
    matches!(expression, Expr::Call(call) if call.func.name == "histogram_quantile")
}

fn check_quotient(quotient: &BinaryExpr) -> Problems {
    let mut problems = Vec::new();
    for side in [&quotient.lhs, &quotient.rhs] {
        let is_sum = matches!(
            without_parentheses(side),
            Expr::Aggregate(aggregate) if aggregate.op.id() == token::T_SUM
        );
        if !is_sum {
            problems.push(format!("{side} is no sum"));
        }
    }
    let total = grouping(&quotient.rhs).is_empty();
    if !total && grouping(&quotient.lhs) != grouping(&quotient.rhs) {
        problems.push("a quotient has different labels above and below".to_owned());
    }
    if let (Some(above), Some(below)) =
        (selectors(&quotient.lhs).first(), selectors(&quotient.rhs).first())
    {
        problems.extend(check_selected(above, below));
    }
    problems
}

/// A mean divides by the number of the same observations, and a share by a number that contains
/// what it divides.
fn check_selected(above: &Selector<'_>, below: &Selector<'_>) -> Problems {
    let (Some(metric), Some(other)) = (above.metric(), below.metric()) else {
        return Vec::new();
    };
    let is_mean = (metric.part, other.part) == (Part::Sum, Part::Count);
    let are_same = above.matchers() == below.matchers();
    if is_mean && !are_same {
        return vec![format!("{} is divided by the number of other observations", above.name())];
    }
    let contains = |matcher: &Matcher| {
        let same_label = above.matchers().iter().filter(|one| one.name == matcher.name);
        let mut values = same_label.flat_map(|one| one.value.split('|')).peekable();
        values.peek().is_some()
            && values.all(|value| matcher.value.split('|').any(|other| other == value))
    };
    if !is_mean && above.name() == below.name() && !below.matchers().iter().all(contains) {
        return vec![format!("{} is divided by a number that lacks it", above.name())];
    }
    Vec::new()
}

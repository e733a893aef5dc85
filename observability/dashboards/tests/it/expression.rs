//! Parsed expressions of PromQL, and what they select.

use promql_parser::label::Matcher;
use promql_parser::parser::{self, Expr, LabelModifier, VectorSelector};

use crate::metrics::Metric;

/// Parses an expression that may contain the variables of dashboards.
pub fn parse(expression: &str) -> Result<Expr, String> {
    parser::parse(&expression.replace("$__rate_interval", "1m"))
}

/// A selector in an expression.
#[derive(Clone, Copy, Debug)]
pub struct Selector<'a> {
    pub series: &'a VectorSelector,
    /// The function whose argument it is.
    pub function: Option<&'static str>,
}

impl Selector<'_> {
    /// Returns the name of the metric.
    pub fn name(&self) -> &str {
        self.series.name.as_deref().unwrap_or_default()
    }

    /// Returns the metric, if the catalog has it.
    pub fn metric(&self) -> Option<Metric> {
        Metric::named(self.name())
    }

    /// Returns the matchers.
    pub fn matchers(&self) -> &[Matcher] {
        &self.series.matchers.matchers
    }
}

/// Returns the parts of an expression.
pub fn parts(expression: &Expr) -> Vec<&Expr> {
    match expression {
        Expr::Aggregate(aggregate) => {
            aggregate.param.iter().chain([&aggregate.expr]).map(AsRef::as_ref).collect()
        }
        Expr::Binary(binary) => vec![&binary.lhs, &binary.rhs],
        Expr::Call(call) => call.args.args.iter().map(AsRef::as_ref).collect(),
        Expr::Paren(paren) => vec![&paren.expr],
        Expr::Subquery(subquery) => vec![&subquery.expr],
        Expr::Unary(unary) => vec![&unary.expr],
        _ => Vec::new(),
    }
}

/// Returns an expression and all that it consists of.
pub fn all(expression: &Expr) -> Vec<&Expr> {
    let mut found = vec![expression];
    found.extend(parts(expression).into_iter().flat_map(all));
    found
}

/// Returns the selectors in an expression.
pub fn selectors(expression: &Expr) -> Vec<Selector<'_>> {
    let function = match expression {
        Expr::Call(call) => Some(call.func.name),
        Expr::MatrixSelector(matrix) => {
            return vec![Selector { series: &matrix.vs, function: None }];
        }
        Expr::VectorSelector(series) => {
            return vec![Selector { series, function: None }];
        }
        _ => None,
    };
    let mut found = Vec::new();
    for part in parts(expression) {
        let is_selector = matches!(part, Expr::MatrixSelector(_) | Expr::VectorSelector(_));
        found.extend(selectors(part).into_iter().map(|selector| Selector {
            function: if is_selector { function } else { selector.function },
            ..selector
        }));
    }
    found
}

/// Returns an expression without the parentheses around it.
pub fn without_parentheses(expression: &Expr) -> &Expr {
    match expression {
        Expr::Paren(paren) => without_parentheses(&paren.expr),
        _ => expression,
    }
}

/// Returns the labels that an aggregation keeps, in alphabetical order.
pub fn grouping(expression: &Expr) -> Vec<&str> {
    let labels = match without_parentheses(expression) {
        Expr::Aggregate(aggregate) => match &aggregate.modifier {
            Some(LabelModifier::Include(labels)) => labels.labels.iter().map(AsRef::as_ref),
            _ => return Vec::new(),
        },
        _ => return Vec::new(),
    };
    let mut labels: Vec<&str> = labels.collect();
    labels.sort_unstable();
    labels
}

/// Returns whether an expression is a quotient.
pub fn is_quotient(expression: &Expr) -> bool {
    matches!(expression, Expr::Binary(binary) if binary.op.id() == parser::token::T_DIV)
}

//! The unit of a panel fits what its expressions compute.

use promql_parser::parser::Expr;

use super::Problems;
use crate::expression::{Selector, is_quotient, selectors, without_parentheses};
use crate::metrics::Part;

/// What an expression computes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Quantity {
    /// A value in the unit of an instrument.
    Level(&'static str),
    /// The growth per second of a part of an instrument.
    Rate(&'static str, Part),
    /// A number from 0 to 1.
    Share,
}

/// Returns whether a unit is not that of an expression.
pub fn check(expression: &Expr, unit: &str) -> Problems {
    match quantity(expression).and_then(expected) {
        Ok(expected) if expected == unit => Vec::new(),
        Ok(expected) => vec![format!("the unit is {unit:?} and not {expected:?}")],
        Err(problem) => vec![problem],
    }
}

/// Returns Grafana's name of the unit.
fn expected(quantity: Quantity) -> Result<&'static str, String> {
    match quantity {
        Quantity::Level("s") => Ok("s"),
        Quantity::Level(_) => Ok("short"),
        Quantity::Share => Ok("percentunit"),
        Quantity::Rate(_, Part::Count) => Ok("ops"),
        Quantity::Rate(unit, Part::Total) => Ok(match unit {
            "{call}" | "{operation}" => "ops",
            "{event}" => "eps",
            "{read}" => "rps",
            _ => "cps",
        }),
        Quantity::Rate(_, part) => Err(format!("the rate of a {part:?} has no meaning")),
    }
}

fn quantity(expression: &Expr) -> Result<Quantity, String> {
    match without_parentheses(expression) {
        Expr::Aggregate(aggregate) => quantity(&aggregate.expr),
        Expr::Binary(binary) if is_quotient(expression) => {
            quotient(quantity(&binary.lhs)?, quantity(&binary.rhs)?)
        }
        Expr::Call(call) if call.func.name == "histogram_quantile" => {
            match call.args.args.last().map(|values| quantity(values)) {
                Some(Ok(Quantity::Rate(unit, Part::Bucket))) => Ok(Quantity::Level(unit)),
                other => Err(format!("a quantile of {other:?}")),
            }
        }
        other => selected(selectors(other).first()),
    }
}

fn selected(selector: Option<&Selector<'_>>) -> Result<Quantity, String> {
    let selector = selector.ok_or("nothing is selected")?;
    let metric = selector.metric().ok_or_else(|| format!("{} is unknown", selector.name()))?;
    let unit = metric.instrument.unit;
    match selector.function {
        Some("rate") => Ok(Quantity::Rate(unit, metric.part)),
        None => Ok(Quantity::Level(unit)),
        Some(function) => Err(format!("the unit of {function} is unknown")),
    }
}

fn quotient(above: Quantity, below: Quantity) -> Result<Quantity, String> {
    match (above, below) {
        (Quantity::Rate(unit, Part::Sum), Quantity::Rate(_, Part::Count)) => {
            Ok(Quantity::Level(unit))
        }
        _ if above == below => Ok(Quantity::Share),
        _ => Err(format!("{above:?} is divided by {below:?}")),
    }
}

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::param::{Jsonb, Param, TimeBound};
use super::statement::Params;
use crate::filter::{Filter, Item, Types};

/// Renders the condition that is true for a row if, and only if, the filter matches its event.
pub(super) fn condition<'a>(filter: &'a Filter, params: &mut Params<'a>) -> String {
    let mut text = String::with_capacity(CAPACITY);
    match filter.items() {
        [item] => push_item(&mut text, item, params),
        items => {
            text.push('(');
            push_joined(&mut text, " OR ", items, |text, item| push_item(text, item, params));
            text.push(')');
        }
    }
    push_period(&mut text, filter, params);
    text
}

/// Renders the rest of the condition for the rows that [`payload_condition`] has found.
pub(super) fn remaining_condition<'a>(filter: &'a Filter, params: &mut Params<'a>) -> String {
    let [item] = filter.items() else { return condition(filter, params) };
    let mut text = String::with_capacity(CAPACITY);
    match item.types() {
        Types::Any => text.push_str("true"),
        Types::Of(types) => push_types(&mut text, types, params),
    }
    push_period(&mut text, filter, params);
    text
}

/// Returns whether the GIN index on the payload finds the events of the filter.
pub(super) fn is_selective(filter: &Filter) -> bool {
    filter.items().iter().all(|item| !item.payloads().is_empty())
}

/// Renders the part of a selective filter's condition that the GIN index on the payload answers.
pub(super) fn payload_condition<'a>(filter: &'a Filter, params: &mut Params<'a>) -> String {
    let mut text = String::with_capacity(CAPACITY);
    push_joined(&mut text, " OR ", filter.items(), |text, item| push_payloads(text, item, params));
    text
}

fn push_item<'a>(text: &mut String, item: &'a Item, params: &mut Params<'a>) {
    let has_payloads = !item.payloads().is_empty();
    match item.types() {
        Types::Any if !has_payloads => text.push_str("true"),
        Types::Any => {
            text.push('(');
            push_payloads(text, item, params);
            text.push(')');
        }
        Types::Of(types) => {
            text.push('(');
            push_types(text, types, params);
            if has_payloads {
                text.push_str(" AND ");
                push_payloads(text, item, params);
            }
            text.push(')');
        }
    }
}

fn push_types<'a>(text: &mut String, types: &'a BTreeSet<String>, params: &mut Params<'a>) {
    // A single type is compared by `=`: the index on the type then returns the events in the log's
    // order. For a list the planner does not use that order.
    let _ = match (types.len(), types.first()) {
        (1, Some(one)) => write!(text, "event_type = {}::text", params.bind(Param::Text(one))),
        _ => {
            let types = Param::Texts(types.iter().map(String::as_str).collect());
            write!(text, "event_type = ANY ({}::text[])", params.bind(types))
        }
    };
}

fn push_payloads<'a>(text: &mut String, item: &'a Item, params: &mut Params<'a>) {
    let payloads = Param::Jsonbs(item.payloads().iter().map(|one| Jsonb(one)).collect());
    let _ = write!(text, "payload @> ANY ({}::jsonb[])", params.bind(payloads));
}

fn push_period(text: &mut String, filter: &Filter, params: &mut Params<'_>) {
    if let Some(from) = filter.occurred_from() {
        let from = params.bind(Param::TimeBound(TimeBound(from)));
        let _ = write!(text, " AND occurred_at >= {from}");
    }
    if let Some(until) = filter.occurred_until() {
        let until = params.bind(Param::TimeBound(TimeBound(until)));
        let _ = write!(text, " AND occurred_at <= {until}");
    }
}

fn push_joined<'a, T>(
    text: &mut String,
    separator: &str,
    parts: &'a [T],
    mut push: impl FnMut(&mut String, &'a T),
) {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            text.push_str(separator);
        }
        push(text, part);
    }
}

/// A number of bytes that suffices for the condition of an item with types and payloads.
const CAPACITY: usize = 128;

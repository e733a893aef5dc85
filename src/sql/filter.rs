use super::param::Param;
use crate::filter::{Filter, Item, Types};

/// Collects parameters and hands out their numbers.
#[derive(Default)]
pub(crate) struct Params<'a>(Vec<Param<'a>>);

impl<'a> Params<'a> {
    /// Takes up a value and returns its placeholder.
    pub(crate) fn bind(&mut self, param: Param<'a>) -> String {
        self.0.push(param);
        format!("${}", self.0.len())
    }

    pub(crate) fn into_vec(self) -> Vec<Param<'a>> {
        self.0
    }
}

/// Renders the condition that a row meets if, and only if, the filter matches its event.
pub(crate) fn condition<'a>(filter: &'a Filter, params: &mut Params<'a>) -> String {
    let items: Vec<_> = filter.items().iter().map(|one| item(one, params)).collect();
    let condition = match items.as_slice() {
        [one] => one.clone(),
        several => format!("({})", several.join(" OR ")),
    };
    and_times(condition, filter, params)
}

/// Renders what is left of the condition for rows that [`payloads`] has found.
pub(crate) fn condition_of_found<'a>(filter: &'a Filter, params: &mut Params<'a>) -> String {
    match filter.items() {
        [one] => and_times(types_of(one, params).unwrap_or("true".to_owned()), filter, params),
        _ => condition(filter, params),
    }
}

fn and_times<'a>(mut condition: String, filter: &'a Filter, params: &mut Params<'a>) -> String {
    if let Some(from) = filter.occurred_from() {
        condition += &format!(" AND occurred_at >= {}", params.bind(Param::Time(from)));
    }
    if let Some(until) = filter.occurred_until() {
        condition += &format!(" AND occurred_at <= {}", params.bind(Param::Time(until)));
    }
    condition
}

/// Says whether the payload's index finds the filter's events, whatever their number.
pub(crate) fn is_selective(filter: &Filter) -> bool {
    filter.items().iter().all(|item| !item.payloads().is_empty())
}

/// Renders the part of a selective filter's condition that the payload's index answers.
pub(crate) fn payloads<'a>(filter: &'a Filter, params: &mut Params<'a>) -> String {
    let any: Vec<_> = filter.items().iter().map(|item| payloads_of(item, params)).collect();
    any.join(" OR ")
}

fn payloads_of<'a>(item: &'a Item, params: &mut Params<'a>) -> String {
    let payloads = item.payloads().iter().map(String::as_str).collect();
    format!("payload @> ANY ({}::jsonb[])", params.bind(Param::Jsonbs(payloads)))
}

fn types_of<'a>(item: &'a Item, params: &mut Params<'a>) -> Option<String> {
    let Types::Of(types) = item.types() else { return None };
    // Of a single type the index has the order as well; of a list the planner does not see it.
    if types.len() == 1 {
        let one = params.bind(Param::Text(types.first()?));
        return Some(format!("event_type = {one}::text"));
    }
    let types = types.iter().map(String::as_str).collect();
    Some(format!("event_type = ANY ({}::text[])", params.bind(Param::Texts(types))))
}

fn item<'a>(item: &'a Item, params: &mut Params<'a>) -> String {
    let mut conditions = Vec::new();
    conditions.extend(types_of(item, params));
    if !item.payloads().is_empty() {
        conditions.push(payloads_of(item, params));
    }
    match conditions.as_slice() {
        [] => "true".to_owned(),
        several => format!("({})", several.join(" AND ")),
    }
}

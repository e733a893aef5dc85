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
    let mut condition = match items.as_slice() {
        [one] => one.clone(),
        several => format!("({})", several.join(" OR ")),
    };
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

fn item<'a>(item: &'a Item, params: &mut Params<'a>) -> String {
    let mut conditions = Vec::new();
    if let Types::Of(types) = item.types() {
        let types = types.iter().map(String::as_str).collect();
        conditions.push(format!("event_type = ANY ({}::text[])", params.bind(Param::Texts(types))));
    }
    if !item.payloads().is_empty() {
        let payloads = item.payloads().iter().map(String::as_str).collect();
        conditions
            .push(format!("payload @> ANY ({}::jsonb[])", params.bind(Param::Jsonbs(payloads))));
    }
    match conditions.as_slice() {
        [] => "true".to_owned(),
        several => format!("({})", several.join(" AND ")),
    }
}

use super::filter::Params;
use super::param::Param;
use crate::Event;

/// Binds events as one array for each column, in the order in which an append gives them.
pub(super) fn bind_columns<'a>(
    events: impl Iterator<Item = &'a Event> + Clone,
    params: &mut Params<'a>,
) -> [String; 5] {
    [
        params.bind(Param::Uuids(events.clone().map(Event::id).collect())),
        params.bind(Param::Times(events.clone().map(Event::occurred_at).collect())),
        params.bind(Param::Texts(events.clone().map(Event::event_type).collect())),
        params.bind(Param::Jsonbs(events.clone().map(Event::payload_json).collect())),
        params.bind(Param::Jsonbs(events.map(Event::metadata_json).collect())),
    ]
}

/// Binds events, and renders them as a table of the columns that an append gives, and their order.
pub(super) fn bind_events<'a>(events: &'a [Event], params: &mut Params<'a>) -> String {
    let [ids, times, types, payloads, metadata] = bind_columns(events.iter(), params);
    format!(
        "unnest({ids}::uuid[], {times}::timestamptz[], {types}::text[], {payloads}::jsonb[],
             {metadata}::jsonb[]) WITH ORDINALITY
             AS event (event_id, occurred_at, event_type, payload, metadata, ordinality)"
    )
}

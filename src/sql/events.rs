use super::filter::Params;
use super::param::Param;
use crate::Event;

/// Binds events as one array for each column, and renders them as a table of the columns that an
/// append gives, and their order.
pub(super) fn bind_events<'a>(events: &'a [Event], params: &mut Params<'a>) -> Events {
    let ids = params.bind(Param::Uuids(events.iter().map(Event::id).collect()));
    let times = params.bind(Param::Times(events.iter().map(Event::occurred_at).collect()));
    let types = params.bind(Param::Texts(events.iter().map(Event::event_type).collect()));
    let payloads = params.bind(Param::Jsonbs(events.iter().map(Event::payload_json).collect()));
    let metadata = params.bind(Param::Jsonbs(events.iter().map(Event::metadata_json).collect()));
    let table = format!(
        "unnest({ids}::uuid[], {times}::timestamptz[], {types}::text[], {payloads}::jsonb[],
             {metadata}::jsonb[]) WITH ORDINALITY
             AS event (event_id, occurred_at, event_type, payload, metadata, ordinality)"
    );
    Events { ids, table }
}

/// Events that are bound to parameters, as SQL.
pub(super) struct Events {
    /// The array of their ids.
    pub(super) ids: String,
    /// All of them.
    pub(super) table: String,
}

use super::param::{Jsonb, Param, Time};
use super::statement::{Params, Placeholder};
use crate::Event;

/// Binds events as one array for each column that an append gives, in the order of the procedure's
/// parameters.
pub(super) fn bind_columns<'a>(
    events: impl Iterator<Item = &'a Event> + Clone,
    params: &mut Params<'a>,
) -> [Placeholder; 5] {
    let times = events.clone().map(|event| Time(event.occurred_at()));
    let payloads = events.clone().map(|event| Jsonb(event.payload_json()));
    let metadata = events.clone().map(|event| Jsonb(event.metadata_json()));
    [
        params.bind(Param::Uuids(events.clone().map(Event::id).collect())),
        params.bind(Param::Times(times.collect())),
        params.bind(Param::Texts(events.map(Event::event_type).collect())),
        params.bind(Param::Jsonbs(payloads.collect())),
        params.bind(Param::Jsonbs(metadata.collect())),
    ]
}

/// Binds events and renders them as the table `event`, with the columns that an append gives and
/// the ordinality of each event.
pub(super) fn bind_events<'a>(events: &'a [Event], params: &mut Params<'a>) -> String {
    let [ids, times, types, payloads, metadata] = bind_columns(events.iter(), params);
    format!(
        "unnest({ids}::uuid[], {times}::timestamptz[], {types}::text[], {payloads}::jsonb[],
             {metadata}::jsonb[]) WITH ORDINALITY
             AS event (event_id, occurred_at, event_type, payload, metadata, ordinality)"
    )
}

use crate::log_name::LogName;

/// Renders the search of the append procedure for the first event that breaks each attempt's
/// condition (Lemma 2). It reads the events above `since`, at most `limit` of them.
///
/// The caller passes one row for each [`NecessaryMatch`](crate::filter::NecessaryMatch) of a
/// condition's filter: an event that breaks the condition has the value `val` under the key `key`
/// of its payload, or among the elements of the array under that key. The empty key, which no
/// predicate has, stands for the event's type, and for the value `true` that every event has. So
/// the rows and the events meet in a hash join on whole values. Joined pairs are then compared
/// exactly: the payload has to contain `body`, and the event's type has to be in the list of
/// `types_of_kinds` with the index `kind`.
///
/// The limit helps the planner, which would otherwise expect to read a third of the log.
pub(super) fn first_matches(log: &LogName, limit: Option<u32>) -> String {
    let table = log.table();
    let limit = limit.map_or_else(|| "ALL".to_owned(), |limit| limit.to_string());
    format!(
        "WITH newer AS MATERIALIZED (
             SELECT event.sequence_number AS number, event.event_type AS type,
                 event.occurred_at AS time, event.payload AS body
             FROM {table} AS event
             WHERE event.sequence_number OPERATOR(pg_catalog.>) since
             ORDER BY event.sequence_number LIMIT {limit}
         ), fact AS MATERIALIZED (
             SELECT newer.number, coalesce(field.key, '') AS key,
                 CASE WHEN field.key IS NULL THEN 'true'::pg_catalog.jsonb
                     WHEN field.key OPERATOR(pg_catalog.=) '' THEN pg_catalog.to_jsonb(newer.type)
                     ELSE newer.body OPERATOR(pg_catalog.->) field.key END AS val
             FROM newer CROSS JOIN pg_catalog.unnest(fields) AS field (key)
             UNION ALL
             SELECT newer.number, field.key, element.val
             FROM newer CROSS JOIN pg_catalog.unnest(elements) AS field (key)
             CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(
                 CASE WHEN pg_catalog.jsonb_typeof(newer.body OPERATOR(pg_catalog.->) field.key)
                         OPERATOR(pg_catalog.=) 'array'
                     THEN newer.body OPERATOR(pg_catalog.->) field.key
                     ELSE '[]' END) AS element (val)
         ), broken AS (
             SELECT term.owner, pg_catalog.min(newer.number) AS number
             FROM fact
             JOIN ROWS FROM (pg_catalog.unnest(keys), pg_catalog.unnest(vals),
                     pg_catalog.unnest(bodies), pg_catalog.unnest(kinds), pg_catalog.unnest(froms),
                     pg_catalog.unnest(untils), pg_catalog.unnest(afters), pg_catalog.unnest(owners))
                 AS term (key, val, body, kind, from_time, until_time, after, owner)
                 ON term.val OPERATOR(pg_catalog.=) fact.val
                 AND term.key OPERATOR(pg_catalog.=) fact.key
                 AND fact.number OPERATOR(pg_catalog.>) term.after
             JOIN newer ON newer.number OPERATOR(pg_catalog.=) fact.number
             WHERE (term.body IS NULL OR newer.body OPERATOR(pg_catalog.@>) term.body)
                 AND (term.kind IS NULL
                     OR types_of_kinds[term.kind] OPERATOR(pg_catalog.?) newer.type)
                 AND (term.from_time IS NULL
                     OR newer.time OPERATOR(pg_catalog.>=) term.from_time)
                 AND (term.until_time IS NULL
                     OR newer.time OPERATOR(pg_catalog.<=) term.until_time)
             GROUP BY term.owner
         )
         SELECT pg_catalog.array_agg(broken.owner), pg_catalog.array_agg(broken.number)
         INTO matched, firsts FROM broken"
    )
}

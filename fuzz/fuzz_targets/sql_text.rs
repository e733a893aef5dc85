//! The text of a statement depends on a filter's shape, never on its values.

#![no_main]

use eddyline::{Query, sql_text};
use eddyline_fuzz::{Item, filter};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|items: Vec<Item>| {
    let Some(filter) = filter(&items) else { return };
    let text = sql_text(&Query::new(&filter));
    assert!(text.bytes().all(|byte| byte.is_ascii()));
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '$');
    for word in words.filter(|word| !word.is_empty()) {
        assert!(KNOWN.contains(&word) || word.starts_with('$'), "{word}");
    }
});

/// Every word that may occur in the statement.
const KNOWN: [&str; 46] = [
    "WITH",
    "AS",
    "MATERIALIZED",
    "UNION",
    "ALL",
    "LIMIT",
    "NULL",
    "candidate",
    "found",
    "few",
    "count",
    "coalesce",
    "max",
    "uuid",
    "timestamptz",
    "0",
    "1001",
    "OFFSET",
    "DESC",
    "SELECT",
    "FROM",
    "WHERE",
    "AND",
    "OR",
    "ANY",
    "ORDER",
    "BY",
    "ASC",
    "true",
    "public",
    "events",
    "sequence_number",
    "event_id",
    "occurred_at",
    "recorded_at",
    "event_type",
    "payload",
    "metadata",
    "text",
    "jsonb",
    "eddyline_schema",
    "epoch",
    "jsonb_build_array",
    "log",
    "pg_is_in_recovery",
    "version",
];

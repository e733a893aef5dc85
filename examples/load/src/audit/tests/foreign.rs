use eddyline::Event;
use serde_json::{Value, json};

use super::assert_finds_among_others;
use crate::audit::Audit;
use crate::audit::memory_library::MemoryLibrary;

const BOOK_ID: &str = "00000000-0000-0000-0000-000000000001";

/// Returns an event with the metadata of a command.
fn event(event_type: &str, payload: &Value) -> Event {
    let metadata =
        json!({ "MessageID": BOOK_ID, "CausationID": BOOK_ID, "CorrelationID": BOOK_ID });
    Event::new(event_type, payload).unwrap().with_metadata(&metadata).unwrap()
}

/// Returns foreign events, each with a part of its finding.
fn foreign_events() -> Vec<(Event, &'static str)> {
    let removed = "BookCopyRemovedFromCirculation";
    let added = "BookCopyAddedToCirculation";
    let time = "2026-03-01T08:00:00.000000Z";
    let finer = "2026-03-01T08:00:00.0000001Z";
    let complete = json!({ "BookID": BOOK_ID, "OccurredAt": time });
    let name = "Ada Lovelace";
    let registered = json!({ "ReaderID": BOOK_ID, "Name": name, "OccurredAt": time });
    let failure = "RemovingBookFromCirculationFailed";
    vec![
        (event("BookCopyBurned", &complete), "no such event type"),
        (event(removed, &json!({ "BookID": BOOK_ID })), "no OccurredAt"),
        (event(removed, &json!({ "OccurredAt": time })), "no BookID"),
        (event(removed, &json!({ "BookID": 7, "OccurredAt": time })), "payload cannot be read"),
        (event(removed, &json!({ "BookID": BOOK_ID, "OccurredAt": finer })), "microseconds"),
        (event(added, &complete), "no ISBN"),
        (event(failure, &complete), "no FailureInfo"),
        (event("ReaderRegistered", &json!({ "ReaderID": BOOK_ID, "OccurredAt": time })), "no Name"),
        (Event::new("ReaderRegistered", &registered).unwrap(), "metadata cannot be read"),
    ]
}

#[test]
fn reports_foreign_events_before_the_load_apart() {
    for (foreign, text) in foreign_events() {
        let mut library = MemoryLibrary::open();
        library.append(foreign);
        library.begin_load();
        library.register(2).unwrap();

        let inspected = library.inspect();

        assert!(inspected.findings.is_empty(), "{inspected:?}");
        assert_eq!(inspected.found_before.count, 1);
        assert!(inspected.found_before.first[0].contains(text), "{inspected:?}");
    }
}

#[test]
fn an_event_without_metadata_counts_for_the_rules() {
    let mut library = MemoryLibrary::open();
    let time = "2026-03-01T08:00:00.000000Z";
    let registered = json!({ "ReaderID": BOOK_ID, "Name": "Ada Lovelace", "OccurredAt": time });
    for _ in 0..2 {
        library.append(Event::new("ReaderRegistered", &registered).unwrap());
    }
    library.begin_load();

    let found = library.inspect().found_before;

    assert_eq!(found.count, 3, "{found:?}");
    assert!(found.first[1].contains("RegisterReader was accepted"), "{found:?}");
}

#[test]
fn reports_a_foreign_event_during_the_load_as_a_finding_of_it() {
    for (foreign, text) in foreign_events() {
        let mut library = MemoryLibrary::open();
        library.append(foreign);

        assert_finds_among_others(&library, text);
        assert_eq!(library.inspect().unexplained, 1);
    }
}

#[test]
fn an_audit_with_foreign_events_is_not_clean_and_says_which_they_are() {
    let mut library = MemoryLibrary::open();
    library.append(event("BookCopyBurned", &json!({})));
    library.begin_load();
    let inspected = library.inspect();

    let audit = Audit { found_before: inspected.found_before, ..Audit::default() };

    let id = library.log[0].id();
    let text = audit.to_string();
    assert!(!audit.is_clean());
    assert!(text.starts_with("audit: no findings of the load in "), "{text}");
    assert!(text.contains(&format!("before the load: event 1, BookCopyBurned {id}: ")), "{text}");
}

#[test]
fn lists_the_first_findings_and_counts_all() {
    let mut library = MemoryLibrary::open();
    for number in 0..70 {
        library.replies.finding(format!("number {number}"));
    }
    library.register(1).unwrap();

    let findings = library.inspect().findings;
    let text = Audit { findings, ..Audit::default() }.to_string();

    assert!(text.contains("audit: 70 findings") && text.contains("number 49"), "{text}");
    assert!(!text.contains("number 50") && text.contains("and 20 more"), "{text}");
}

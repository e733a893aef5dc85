use std::time::{Duration, Instant};

use uuid::Uuid;

use super::*;
use crate::answer::Scope;
use crate::entry::Book;

const BOOK: Book = Book { writer: 1, volume: 1 };
const OTHER: Book = Book { writer: 2, volume: 1 };

fn entry(position: u64, book: Book, number: u32) -> Entry {
    Entry { position, id: Uuid::from_u128(position.into()), book, number }
}

/// An event of the second timeline.
fn other_entry(position: u64, book: Book, number: u32) -> Entry {
    Entry { id: Uuid::from_u128(1_000 + u128::from(position)), ..entry(position, book, number) }
}

/// A log with two books.
fn log() -> Vec<Entry> {
    vec![
        entry(1, BOOK, 1),
        entry(2, OTHER, 1),
        entry(3, BOOK, 2),
        entry(5, BOOK, 3),
        entry(6, OTHER, 2),
    ]
}

fn checker() -> Checker {
    let mut checker = Checker::default();
    checker.extend(&log());
    checker
}

/// The log, and a second timeline that has lost the events above 3.
fn forked(closed: Instant) -> Checker {
    let mut checker = checker();
    let mut entries = log();
    entries.truncate(3);
    entries.extend([other_entry(5, OTHER, 2), other_entry(6, BOOK, 3), other_entry(8, BOOK, 4)]);
    checker.fork(closed, &entries);
    checker
}

fn content(scope: Scope, position: u64, entries: &[Entry]) -> Content {
    let (content, disorder) = Content::new(scope, 0, position, entries);
    assert_eq!(disorder, None);
    content
}

/// The prefix of a book in the first timeline.
fn prefix(book: Book, position: u64) -> Content {
    let entries: Vec<_> = log()
        .into_iter()
        .filter(|entry| entry.book == book && entry.position <= position)
        .collect();
    content(Scope::Books(vec![book]), position, &entries)
}

fn answer(ask: Ask, content: Content, demands: Vec<Demand>) -> Answer {
    let (server, called) = ("replica-0".to_owned(), Instant::now());
    Answer { ask, server, called, content, disorder: None, demands }
}

/// Returns the names of the violations that the checker finds.
fn found(checker: Checker, answer: Answer) -> Vec<&'static str> {
    found_with(checker, Vec::new(), answer)
}

fn found_with(
    mut checker: Checker,
    acknowledgments: Vec<Acknowledgment>,
    answer: Answer,
) -> Vec<&'static str> {
    checker.check(acknowledgments, &[answer]);
    checker.into_verdict().found()
}

#[test]
fn every_prefix_of_the_log_is_a_correct_answer() {
    for position in [0, 1, 2, 3, 5, 6] {
        for book in [BOOK, OTHER] {
            let answer = answer(Ask::Plain, prefix(book, position), Vec::new());

            assert!(found(checker(), answer).is_empty(), "{book} at {position}");
        }
    }
}

#[test]
fn an_answer_that_lacks_an_event_below_its_position_is_torn() {
    let content = content(Scope::Books(vec![BOOK]), 5, &[entry(1, BOOK, 1), entry(3, BOOK, 2)]);

    assert_eq!(found(checker(), answer(Ask::Plain, content, Vec::new())), ["TORN"]);
}

#[test]
fn an_answer_whose_event_has_another_id_is_torn() {
    let content = content(Scope::Books(vec![BOOK]), 1, &[other_entry(1, BOOK, 1)]);

    assert_eq!(found(checker(), answer(Ask::Plain, content, Vec::new())), ["TORN"]);
}

#[test]
fn a_position_without_an_event_is_torn() {
    let content = Content { position: 4, ..prefix(BOOK, 3) };

    assert_eq!(found(checker(), answer(Ask::Plain, content, Vec::new())), ["TORN"]);
}

#[test]
fn an_answer_below_the_first_position_of_its_query_has_no_events() {
    let (content, disorder) = Content::new(Scope::All, 5, 3, &[]);

    assert_eq!(disorder, None);
    assert!(found(checker(), answer(Ask::Plain, content, Vec::new())).is_empty());
}

#[test]
fn an_answer_of_events_of_both_timelines_is_torn() {
    let now = Instant::now();
    let events = [entry(2, OTHER, 1), other_entry(5, OTHER, 2)];
    let mixed = [entry(1, BOOK, 1), entry(3, BOOK, 2), entry(5, BOOK, 3), other_entry(8, BOOK, 4)];
    let correct = content(Scope::Books(vec![OTHER]), 5, &events);
    let torn = content(Scope::Books(vec![BOOK]), 8, &mixed);

    assert!(found(forked(now), answer(Ask::Plain, correct, Vec::new())).is_empty());
    assert_eq!(found(forked(now), answer(Ask::Plain, torn, Vec::new())), ["TORN"]);
}

#[test]
fn an_answer_without_the_event_it_was_asked_for_is_stale() {
    let demand = || vec![Demand::Contains(entry(5, BOOK, 3))];

    assert!(found(checker(), answer(Ask::AtLeast, prefix(OTHER, 5), demand())).is_empty());
    assert_eq!(found(checker(), answer(Ask::AtLeast, prefix(BOOK, 3), demand())), ["STALE"]);
}

/// The numbers have caught up, but the event is lost.
#[test]
fn an_answer_of_a_timeline_that_has_lost_the_event_is_stale() {
    let now = Instant::now();
    let events = [entry(2, OTHER, 1), other_entry(5, OTHER, 2)];
    let newer = || content(Scope::Books(vec![OTHER]), 8, &events);
    let demand = |entry| vec![Demand::Contains(entry)];
    let (lost, kept) = (entry(5, BOOK, 3), entry(3, BOOK, 2));

    assert_eq!(found(forked(now), answer(Ask::AtLeast, newer(), demand(lost))), ["STALE"]);
    assert!(found(forked(now), answer(Ask::AtLeast, newer(), demand(kept))).is_empty());
}

#[test]
fn an_answer_below_an_earlier_one_of_its_session_goes_backwards() {
    let demand = |seen| vec![Demand::Extends(seen)];
    let (lower, higher) = (prefix(BOOK, 5), prefix(OTHER, 6));

    let forwards = answer(Ask::Causal, higher.clone(), demand(lower.clone()));
    assert!(found(checker(), forwards).is_empty());
    assert_eq!(found(checker(), answer(Ask::Causal, lower, demand(higher))), ["BACKWARDS"]);
}

#[test]
fn an_answer_without_the_events_that_its_session_has_seen_goes_backwards() {
    let now = Instant::now();
    let events = [entry(2, OTHER, 1), other_entry(5, OTHER, 2)];
    let newer = content(Scope::Books(vec![OTHER]), 8, &events);
    let demands = vec![Demand::Extends(prefix(BOOK, 5))];

    assert_eq!(found(forked(now), answer(Ask::Causal, newer, demands)), ["BACKWARDS"]);
}

#[test]
fn an_answer_without_an_event_acknowledged_before_its_bound_is_stale() {
    let called = Instant::now();
    let bound = Duration::from_millis(50);
    let acknowledged =
        |entry, before| vec![Acknowledgment { entry, at: called - Duration::from_millis(before) }];
    let answer = |position| Answer {
        called,
        ..answer(Ask::MaxStaleness, prefix(BOOK, position), vec![Demand::Within(bound)])
    };

    for (before, position, violations) in
        [(51, 5, vec![]), (49, 3, vec![]), (50, 3, vec!["STALE"]), (51, 3, vec!["STALE"])]
    {
        let acknowledged = acknowledged(entry(5, BOOK, 3), before);

        assert_eq!(
            found_with(checker(), acknowledged, answer(position)),
            violations,
            "{before} ms before, at {position}"
        );
    }
}

#[test]
fn the_highest_position_acknowledged_by_then_counts() {
    let called = Instant::now();
    let at = |entry, before| Acknowledgment { entry, at: called - Duration::from_millis(before) };
    let acknowledged = vec![at(entry(5, BOOK, 3), 90), at(entry(3, BOOK, 2), 80)];
    let demands = vec![Demand::Within(Duration::from_millis(70))];
    let answer = Answer { called, ..answer(Ask::MaxStaleness, prefix(BOOK, 3), demands) };

    assert_eq!(found_with(checker(), acknowledged, answer), ["STALE"]);
}

#[test]
fn an_event_that_a_failover_lost_need_not_be_in_an_answer_after_it() {
    let called = Instant::now();
    let before = |ms| called - Duration::from_millis(ms);
    let acknowledged = vec![Acknowledgment { entry: entry(6, OTHER, 2), at: before(100) }];
    let events = [entry(2, OTHER, 1), other_entry(5, OTHER, 2)];
    let newer = content(Scope::Books(vec![OTHER]), 5, &events);
    let demands = vec![Demand::Within(Duration::from_millis(10))];
    let answer = Answer { called, ..answer(Ask::MaxStaleness, newer, demands) };

    assert!(found_with(forked(before(90)), acknowledged, answer).is_empty());
}

#[test]
fn an_answer_of_a_timeline_without_an_event_that_a_newer_one_acknowledged_is_stale() {
    let called = Instant::now();
    let before = |ms| called - Duration::from_millis(ms);
    let acknowledged = |entry| vec![Acknowledgment { entry, at: before(80) }];
    let (kept, lost, newer) = (entry(3, BOOK, 2), entry(6, OTHER, 2), other_entry(5, OTHER, 2));

    for (entry, bound, violations) in [
        (newer, 50, vec!["STALE"]),
        (newer, 80, vec!["STALE"]),
        (newer, 81, vec![]),
        (kept, 50, vec![]),
        (lost, 50, vec![]),
    ] {
        let demands = vec![Demand::Within(Duration::from_millis(bound))];
        let answer = Answer { called, ..answer(Ask::MaxStaleness, prefix(OTHER, 6), demands) };

        assert_eq!(
            found_with(forked(before(80)), acknowledged(entry), answer),
            violations,
            "{entry}, with a bound of {bound} ms"
        );
    }
}

#[test]
fn an_acknowledged_event_that_no_log_holds_is_wrong() {
    let at = Instant::now();
    let mut checker = forked(at);
    let kept =
        [entry(6, OTHER, 2), other_entry(8, BOOK, 4)].map(|entry| Acknowledgment { entry, at });
    let lost = Acknowledgment { entry: entry(9, BOOK, 9), at };

    checker.check(kept.to_vec(), &[]);
    assert!(checker.verdict.found().is_empty());
    checker.check(vec![lost], &[]);
    assert_eq!(checker.verdict.wrong.count, 1);
}

#[test]
fn an_event_that_the_old_primary_acknowledged_after_the_failover_is_wrong() {
    let ended = Instant::now();
    let mut checker = forked(ended);
    let at = ended + Duration::from_millis(1);

    checker.check(vec![Acknowledgment { entry: entry(6, OTHER, 2), at }], &[]);

    assert_eq!(checker.verdict.wrong.count, 1);
}

#[test]
fn an_event_whose_number_does_not_follow_is_wrong() {
    let mut checker = checker();

    checker.extend(&[entry(7, BOOK, 4), entry(8, OTHER, 4)]);

    assert_eq!(checker.verdict.wrong.count, 1);
}

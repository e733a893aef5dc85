use serde_json::json;

use super::*;
use crate::event::{Decision, Stamp};
use crate::filter::{FilterSpec, ItemSpec};
use crate::message::{Exclusivity, Server, SingleStoreViolation, TailMethod};
use crate::positions::PositionSet;

/// A log made by hand, with the reports of the workers.
#[derive(Default)]
struct Scenario {
    log: Vec<Entry>,
    observations: Observations,
}

impl Scenario {
    /// Returns a history without violations: three successive decisions about one book, and an
    /// event about another book. A reader saw all of them, and one decision had a conflict.
    fn clean() -> Self {
        let mut scenario = Self::default();
        scenario.accept(1, "b", Some((0, 0)));
        scenario.accept(2, "other", None);
        scenario.accept(4, "b", Some((1, 2)));
        scenario.accept(5, "b", Some((2, 4)));
        scenario.observe(Message::Conflict(conflict()));
        scenario.observe(Message::Tailed(tail([1, 2, 4, 5], 5)));
        scenario
    }

    fn write(&mut self, position: u64, book: &str, decision: Option<(u64, u64)>) -> Uuid {
        let id = Uuid::now_v7();
        let decision = decision.map(|(count, read_at)| Decision {
            filter: book_filter(book),
            since: 0,
            count,
            read_at,
        });
        self.log.push(Entry {
            position,
            id,
            event_type: "BookCopyLentToReader".into(),
            payload: json!({ "BookID": book }).to_string(),
            stamp: Stamp { append: id, index: 0, of: 1, decision },
        });
        id
    }

    fn accept(&mut self, position: u64, book: &str, decision: Option<(u64, u64)>) {
        let id = self.write(position, book, decision);
        self.observe(Message::Accepted { ids: vec![id], first: position, last: position });
    }

    fn observe(&mut self, message: Message) {
        self.observations.add(message);
    }

    /// Returns the number of violations of each kind, in the order in which they are printed.
    fn verdict(&self) -> [u64; 6] {
        check(&self.log, &self.observations).all().map(|(_, violations)| violations.count)
    }
}

fn book_filter(book: &str) -> FilterSpec {
    let any_of = vec![("BookID".into(), json!(book))];
    ItemSpec { any_of, ..ItemSpec::default() }.into()
}

fn conflict() -> Conflict {
    Conflict {
        filter: book_filter("b"),
        read_at: 2,
        after: 2,
        event: Some((4, "BookCopyLentToReader".into())),
        head: None,
        exclusivity: None,
    }
}

fn tail(seen: impl IntoIterator<Item = u64>, position: u64) -> Tail {
    let seen = PositionSet::from_iter(seen);
    Tail { method: TailMethod::Sql, server: Server::Replica, seen, position }
}

#[test]
fn finds_no_violation_in_a_clean_history() {
    assert_eq!(Scenario::clean().verdict(), [0; 6]);
}

#[test]
fn wrong_counts_two_decisions_from_the_same_read() {
    let mut scenario = Scenario::clean();
    scenario.accept(6, "b", Some((3, 5)));
    scenario.accept(7, "b", Some((3, 5)));

    assert_eq!(scenario.verdict(), [1, 0, 0, 0, 0, 0]);
}

#[test]
fn wrong_counts_a_decision_from_a_read_with_too_many_events() {
    let mut scenario = Scenario::clean();
    scenario.accept(6, "b", Some((4, 5)));

    assert_eq!(scenario.verdict(), [1, 0, 0, 0, 0, 0]);
}

#[test]
fn wrong_counts_a_decision_to_append_nothing_from_an_incorrect_read() {
    for (count, read_at, violations) in [(1, 2, 0), (1, 3, 0), (2, 4, 0), (1, 4, 1), (2, 3, 1)] {
        let mut scenario = Scenario::clean();
        let filter = book_filter("b");
        scenario.observe(Message::DecidedNothing(Decision { filter, since: 0, count, read_at }));

        assert_eq!(scenario.verdict(), [violations, 0, 0, 0, 0, 0], "{count} at {read_at}");
    }
}

#[test]
fn wrong_counts_a_decision_that_missed_an_unconditional_append() {
    let mut scenario = Scenario::clean();
    scenario.accept(6, "b", None);
    scenario.accept(7, "b", Some((3, 5)));

    assert_eq!(scenario.verdict(), [1, 0, 0, 0, 0, 0]);
}

#[test]
fn missed_counts_events_that_a_reader_passed_without_seeing() {
    let mut scenario = Scenario::clean();
    scenario.observe(Message::Tailed(tail([1, 4, 5], 5)));
    scenario.observe(Message::Tailed(tail([5], 5)));

    assert_eq!(scenario.verdict(), [0, 4, 0, 0, 0, 0]);
}

#[test]
fn missed_ignores_events_above_the_position_of_the_reader() {
    let mut scenario = Scenario::clean();
    scenario.observe(Message::Tailed(tail([1, 2], 3)));

    assert_eq!(scenario.verdict(), [0; 6]);
}

#[test]
fn false_counts_a_conflict_that_names_the_wrong_event_or_position() {
    let lent = "BookCopyLentToReader";
    for conflict in [
        Conflict { event: Some((2, lent.into())), read_at: 1, after: 1, ..conflict() },
        Conflict { event: Some((3, lent.into())), ..conflict() },
        Conflict { event: Some((1, lent.into())), ..conflict() },
        Conflict { event: Some((5, lent.into())), ..conflict() },
        Conflict { event: Some((4, "ReaderRegistered".into())), ..conflict() },
        Conflict { after: 1, ..conflict() },
    ] {
        let mut scenario = Scenario::clean();
        scenario.observe(Message::Conflict(conflict.clone()));

        assert_eq!(scenario.verdict(), [0, 0, 1, 0, 0, 0], "{conflict:?}");
    }
}

#[test]
fn false_counts_a_conflict_of_an_exclusive_decision() {
    for exclusivity in [Exclusivity::Locked, Exclusivity::Private] {
        for event in [conflict().event, None] {
            let mut scenario = Scenario::clean();
            let exclusivity = Some(exclusivity);
            scenario.observe(Message::Conflict(Conflict { event, exclusivity, ..conflict() }));

            assert_eq!(scenario.verdict(), [0, 0, 1, 0, 0, 0], "{exclusivity:?}");
        }
    }
}

#[test]
fn false_counts_a_conflict_without_a_matching_event() {
    let without_event = Conflict { event: None, head: Some(4), ..conflict() };
    for (conflict, violations) in [
        (without_event.clone(), 0),
        (Conflict { read_at: 4, ..without_event.clone() }, 1),
        (Conflict { read_at: 5, head: Some(9), ..without_event.clone() }, 1),
        (Conflict { filter: book_filter("other"), ..without_event }, 1),
    ] {
        let mut scenario = Scenario::clean();
        scenario.observe(Message::Conflict(conflict.clone()));

        assert_eq!(scenario.verdict(), [0, 0, violations, 0, 0, 0], "{conflict:?}");
    }
}

#[test]
fn lost_counts_accepted_events_that_are_not_in_the_log() {
    let mut scenario = Scenario::clean();
    scenario.observe(Message::Accepted {
        ids: vec![Uuid::now_v7(), Uuid::now_v7()],
        first: 6,
        last: 7,
    });

    assert_eq!(scenario.verdict(), [0, 0, 0, 2, 0, 0]);
}

#[test]
fn lost_counts_an_append_at_other_positions_or_out_of_order() {
    for positions in [[6, 8], [7, 6]] {
        let mut scenario = Scenario::clean();
        let mut ids: Vec<_> = [6, 7].map(|position| scenario.write(position, "other", None)).into();
        if positions == [7, 6] {
            ids.reverse();
        }
        scenario.observe(Message::Accepted { ids, first: positions[0], last: positions[1] });

        assert_eq!(scenario.verdict(), [0, 0, 0, 1, 0, 0]);
    }
}

#[test]
fn lost_counts_seen_positions_that_are_not_in_the_log() {
    let mut scenario = Scenario::clean();
    scenario.observe(Message::Tailed(tail([1, 2, 3, 4, 5], 5)));

    assert_eq!(scenario.verdict(), [0, 0, 0, 1, 0, 0]);
}

#[test]
fn lost_counts_the_missing_events_of_a_partly_stored_append() {
    let mut scenario = Scenario::clean();
    let id = scenario.write(6, "other", None);
    scenario.log[4].stamp.of = 3;
    scenario.observe(Message::Unknown { ids: vec![id] });

    assert_eq!(scenario.verdict(), [0, 0, 0, 2, 0, 0]);
}

#[test]
fn ghost_counts_a_refused_event_that_is_in_the_log() {
    let mut scenario = Scenario::clean();
    let id = scenario.write(6, "other", None);
    scenario.observe(Message::Refused { ids: vec![id], error: None });

    assert_eq!(scenario.verdict(), [0, 0, 0, 0, 1, 0]);
}

#[test]
fn ghost_ignores_events_with_an_unknown_outcome() {
    let mut scenario = Scenario::clean();
    let id = scenario.write(6, "other", None);
    scenario.observe(Message::Unknown { ids: vec![id, Uuid::now_v7()] });

    assert_eq!(scenario.verdict(), [0; 6]);
}

#[test]
fn twice_counts_an_event_that_is_in_the_log_again() {
    let mut scenario = Scenario::clean();
    let id = scenario.write(6, "other", None);
    let repeated = Entry { position: 7, ..scenario.log[4].clone() };
    scenario.log.push(repeated);
    scenario.observe(Message::Unknown { ids: vec![id] });

    assert_eq!(scenario.verdict(), [0, 0, 0, 0, 0, 1]);
}

#[test]
fn keeps_a_few_examples() {
    let mut scenario = Scenario::clean();
    for position in 6..16 {
        scenario.write(position, "other", None);
    }

    let verdict = check(&scenario.log, &scenario.observations);

    assert_eq!(verdict.ghosts.examples.len(), Violations::EXAMPLES);
    assert!(!verdict.is_clean());
}

#[test]
fn counts_the_violations_in_the_single_store_log() {
    let mut scenario = Scenario::clean();
    scenario
        .observe(Message::SingleStoreViolation(SingleStoreViolation::Wrong("wrong".to_owned())));
    scenario
        .observe(Message::SingleStoreViolation(SingleStoreViolation::False("false".to_owned())));
    scenario.observe(Message::SingleStoreViolation(SingleStoreViolation::Lost("lost".to_owned())));

    assert_eq!(scenario.verdict(), [1, 0, 1, 1, 0, 0]);
}

#[test]
fn lost_counts_a_stored_event_that_is_not_in_the_log() {
    let mut scenario = Scenario::clean();
    let stored = scenario.write(6, "other", None);
    scenario.observe(Message::Stored { ids: vec![stored, Uuid::now_v7()] });

    assert_eq!(scenario.verdict(), [0, 0, 0, 1, 0, 0]);
}
